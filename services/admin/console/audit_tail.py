"""The end of the audit log, and whether its chain holds: read bit by bit, so that nobody waits for a long one."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.runtime.audit_chain import ChainCheck, Verdict

_TAIL_BYTES: Final = 64 * 1024
_SHOWN: Final = 20
_SLICE_BYTES: Final = 256 * 1024
_SLICES: Final = 8
"""At each look: two megabytes."""
_CHECK_ANEW_S: Final = 300.0
"""What has been checked may be changed afterwards."""


@dataclass(frozen=True, slots=True)
class AuditedAttempt:
    """One attempt, with what is known of its outcome. Its words are those of callers."""

    at: str
    who: str | None
    action: str
    target: str
    outcome: str


@dataclass(frozen=True, slots=True)
class AuditView:
    """What is shown of the log."""

    attempts: tuple[AuditedAttempt, ...]
    """The last ones, newest first."""
    verdict: Verdict
    is_all_checked: bool
    """Whether the verdict is of the whole file; else as far as it has come."""
    is_readable: bool


class AuditTail:
    """Follows the log of this machine."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._path = path
        self._clock = clock
        self._check = ChainCheck()
        self._checked_bytes = 0
        self._rest = b""
        self._began_at = clock()
        self._file: tuple[int, int] | None = None
        self._seen: tuple[int, int, int] | None = None
        self._attempts: tuple[AuditedAttempt, ...] = ()

    async def look(self) -> AuditView:
        """Return what is there now. Call it time and again, never twice at once."""
        for _ in range(_SLICES):
            try:
                is_all_checked = await asyncio.to_thread(self._read_on)
            except FileNotFoundError:
                return AuditView((), ChainCheck().verdict(), is_all_checked=True, is_readable=True)
            except OSError:
                return AuditView((), ChainCheck().verdict(), is_all_checked=False, is_readable=False)
            if is_all_checked:
                break
        return AuditView(self._attempts, self._check.verdict(), is_all_checked, is_readable=True)

    def _read_on(self) -> bool:
        """Check some more of it; return whether that was all."""
        with self._path.open("rb") as log:
            status = os.fstat(log.fileno())
            is_old = self._clock() - self._began_at > _CHECK_ANEW_S
            if (status.st_dev, status.st_ino) != self._file or status.st_size < self._checked_bytes or is_old:
                self._begin((status.st_dev, status.st_ino))
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen != self._seen:
                self._seen = seen
                self._attempts = _last_attempts(
                    os.pread(log.fileno(), _TAIL_BYTES, max(0, status.st_size - _TAIL_BYTES))
                )
            data = os.pread(log.fileno(), _SLICE_BYTES, self._checked_bytes)
        self._checked_bytes += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._check.take(line)
        return self._checked_bytes >= status.st_size

    def _begin(self, file: tuple[int, int]) -> None:
        self._file, self._began_at = file, self._clock()
        self._check, self._checked_bytes, self._rest = ChainCheck(), 0, b""


def _last_attempts(tail: bytes) -> tuple[AuditedAttempt, ...]:
    by_id: dict[str, AuditedAttempt] = {}
    for entry in _entries(tail.split(b"\n")):
        name = str(entry.get("id"))
        first = by_id.pop(name, None)
        target = entry.get("target")
        by_id[name] = AuditedAttempt(
            at=first.at if first else str(entry.get("at", "")),
            who=None if entry.get("who") is None else str(entry["who"]),
            action=str(entry.get("action", "")),
            target=_words(target) if isinstance(target, dict) else "",
            outcome=str(entry.get("outcome", "")),
        )
    return tuple(list(by_id.values())[-_SHOWN:][::-1])


def _words(target: Mapping[str, object]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in target.items() if value)


def _entries(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry
