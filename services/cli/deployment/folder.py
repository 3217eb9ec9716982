"""The files of a deployment: each is written whole, with the owner and the mode that the containers need."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

SECRET: Final = 0o400
"""Read by our own containers, which run as the owner."""
SHARED: Final = 0o444
"""Read by other images' users too. Nobody else on this machine gets there: the folder itself is closed to them."""

_CONTAINER_ID: Final = 10001
"""Of the user in our image."""


class Owner(NamedTuple):
    """As whom our containers run, and so whose the files are."""

    uid: int
    gid: int


def owner_here() -> Owner:
    """Return who makes the deployment; for root, the user of our image: no container shall run as root."""
    return Owner(os.geteuid(), os.getegid()) if os.geteuid() else Owner(_CONTAINER_ID, _CONTAINER_ID)


class Folder:
    """A deployment's folder; names are relative to it."""

    def __init__(self, path: Path, owner: Owner) -> None:
        """Make the folder if there is none.

        Raises:
            OSError: it cannot be made.
        """
        self.path = path.absolute()
        self.owner = owner
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def make(self, name: str) -> None:
        """Make a folder in it that one container sees."""
        path = self.path / name
        path.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o755)
        os.chown(path, *self.owner)

    def read(self, name: str) -> str | None:
        """Return what a file holds, without its last line end; None where there is none."""
        try:
            return (self.path / name).read_text(encoding="utf-8").removesuffix("\n")
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted."""
        return sorted(file.name for file in (self.path / folder).iterdir())

    def kept(self, name: str, make: Callable[[], str], *, mode: int = SECRET) -> str:
        """Return what a file holds; where there is none, write what `make` returns."""
        held = self.read(name)
        if held is None:
            held = make()
            self.write(name, held + "\n", mode=mode)
        return held

    def write(self, name: str, text: str, *, mode: int) -> None:
        """Replace a file at once: who reads it meanwhile reads the old one or the new one."""
        path = self.path / name
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(descriptor, mode)
                os.fchown(descriptor, *self.owner)
                file.flush()
                os.fsync(descriptor)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
