"""The folder of a run: its lock, its files, and state.json, by which the other commands find the system."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from services.supervisor.errors import StateFolderError
from services.supervisor.targets import FILE_NAME


class StateFolder:
    """A folder that only one `up` has at a time. Made by `claimed`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.servers = path / "servers"
        self.valkey = path / "valkey"
        self._state = path / "state.json"
        self._targets = path / FILE_NAME
        self._targets_text = ""

    def make(self) -> None:
        """Make the folder and those in it; a folder that exists keeps its mode."""
        for folder in (self.path, self.logs, self.servers, self.valkey):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """Write a file that only we may read, whole or not at all; return its path."""
        path = self.path / name
        draft = path.with_name(f".{name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
        return draft.replace(path)

    def write_state(self, state: Mapping[str, object]) -> None:
        """Replace state.json: the object that `--json` prints, and `supervisor`, our process id."""
        self.write(self._state.name, json.dumps({**state, "supervisor": os.getpid()}) + "\n")

    def write_targets(self, text: str) -> None:
        """Replace the file for Prometheus, unless it says that already: each change makes Prometheus read it."""
        if text != self._targets_text:
            self.write(self._targets.name, text)
            self._targets_text = text

    def remove_state(self) -> None:
        """Nothing runs any more."""
        self._state.unlink(missing_ok=True)
        self._targets.unlink(missing_ok=True)


@contextmanager
def claimed(path: Path) -> Iterator[StateFolder]:
    """Yield the folder at `path`, made with mode 0700 if there is none, for this `up` alone.

    Raises:
        StateFolderError: another `up` has it, or it cannot be used.
    """
    folder = StateFolder(path.absolute())
    try:
        folder.make()
        lock = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateFolderError(f"the state folder {path} cannot be used: {error.strerror}") from error
    with os.fdopen(lock, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read(32).strip()
            raise StateFolderError(
                f"another `busbar up` (process {holder}) has the state folder {path}; see --state-dir"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield folder
