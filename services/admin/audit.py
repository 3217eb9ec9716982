"""The audit log: who tried to change what, when, and what became of it. Lines are only ever appended.

Each attempt is two lines with the same `id`: `attempted` before anything is done, then its outcome. If the first cannot
be written, nothing is done. An attempt without an outcome: the process ended before it knew, or the disk was full. One
that is refused for its key, or the lack of one, is one line; so is a log-in at the console.
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.runtime.audit_chain import ChainEnd, chained, find_end
from services.runtime.file_lock import lock_file

ATTEMPTED: Final = "attempted"
DONE: Final = "done"

_LOCK_TIMEOUT_S: Final = 2.0
_WRITE_TIMEOUT_S: Final = 5.0
_TAIL_BYTES: Final = 64 * 1024
_LONGEST_TAIL_BYTES: Final = 4 * 1024 * 1024
_LONGEST_TEXT: Final = 2048
"""Of a caller's words no more is kept: attempts without a key are written, too."""


class AuditUnwritableError(Exception):
    """The line is not certain to be on the disk."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to change something."""

    id: str
    """The request's id, as the caller is told it in a problem."""
    who: str | None
    """The key's id; None without a valid key."""
    action: str
    target: Mapping[str, str]
    """What it is of, by the names in the path: server, tool."""


class Audit:
    """Appends to the log. Several processes may write one file; a file that was moved away is begun anew."""

    def __init__(self, path: Path, instance: str) -> None:
        self._path = path
        self._instance = instance
        self._turn = asyncio.Lock()
        self._strangers = asyncio.Lock()

    async def write(self, attempt: Attempt, outcome: str) -> None:
        """Return when the line is on the disk; `outcome` is ATTEMPTED, DONE or an error code.

        Raises:
            AuditUnwritableError: it is not, or not in five seconds.
        """
        entry: dict[str, object] = {
            "id": attempt.id,
            "who": attempt.who,
            "action": attempt.action,
            "target": {name: value[:_LONGEST_TEXT] for name, value in attempt.target.items()},
            "outcome": outcome,
            "by": self._instance,
        }
        # However many come without a key, one of them at a time stands in the line of those who have one.
        apart = self._strangers if attempt.who is None else nullcontext()
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT_S), apart, self._turn:
                await asyncio.to_thread(self._append, entry)
        except OSError as error:  # a TimeoutError is one
            raise AuditUnwritableError from error

    def _append(self, entry: Mapping[str, object]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self._path.exists()
        log = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock_file(log, limit_s=_LOCK_TIMEOUT_S)
            line = chained({"at": _now(), **entry}, _end(log))
            if os.write(log, line) < len(line):
                raise OSError("the line was cut off")
            os.fsync(log)
        finally:
            os.close(log)
        if is_new:
            _sync_folder(self._path.parent)


def _end(log: int) -> ChainEnd:
    size = os.fstat(log).st_size
    wanted = _TAIL_BYTES
    while True:
        start = max(0, size - wanted)
        end = find_end(os.pread(log, size - start, start), is_whole_log=start == 0)
        if end is not None:
            return end
        if wanted >= _LONGEST_TAIL_BYTES:
            raise OSError("the file does not end as an audit log does")
        wanted *= 4


def _sync_folder(folder: Path) -> None:
    """Without it, a new file's name may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
