"""The chain of the audit log: each line holds the digest of the line before, so that a line taken out or changed shows.

A line is a JSON object. `previous` is the SHA-256 (hex) of the whole line before, without its line end; of the first
line, 64 zeros. A crash or a full disk may leave a part of a line: it stays where it is, and the next whole line holds
the SHA-256 of it in `torn`, as it stands between the two, line ends included.

What the chain cannot show is that lines are missing at its very end: for that, keep a copy of it elsewhere.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

NOTHING: Final = "0" * 64
"""What stands for the line before the first one."""


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """Where a log ends now."""

    digest: str = NOTHING
    """Of its last whole line."""
    torn: bytes = b""
    """What follows that line."""
    is_line_open: bool = False
    """Whether the last byte is not a line end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a log."""

    whole: int
    """Lines that follow from one another, from the first on."""
    broken_at: int | None
    """The first line, from 1, that does not follow from those before it."""
    is_end_torn: bool
    """Whether something that is no whole line follows the last one."""


def chained(entry: Mapping[str, object], end: ChainEnd) -> bytes:
    """Return the bytes to append to a log, so that `entry` is its next line."""
    links = {"previous": end.digest}
    if end.torn:
        links["torn"] = _digest(end.torn + b"\n" if end.is_line_open else end.torn)
    line = json.dumps({**links, **entry}).encode() + b"\n"
    return b"\n" + line if end.is_line_open else line


def find_end(tail: bytes, *, is_whole_log: bool) -> ChainEnd | None:
    """Return where a log ends, by its last bytes; None if no whole line is certain to be among them."""
    is_line_open = bool(tail) and not tail.endswith(b"\n")
    lines = tail.split(b"\n")
    first = 0 if is_whole_log else 1  # else it may be the rest of a line
    for index in range(len(lines) - 1, first - 1, -1):
        if _read(lines[index]) is not None:
            return ChainEnd(_digest(lines[index]), b"\n".join(lines[index + 1 :]), is_line_open)
    return ChainEnd(NOTHING, tail, is_line_open) if is_whole_log else None


class ChainCheck:
    """Checks a log as its lines come."""

    def __init__(self) -> None:
        self._digest, self._torn = NOTHING, b""
        self._number = self._whole = 0
        self._broken_at: int | None = None

    def take(self, text: bytes) -> None:
        """Check the next line, without its line end; after one that does not follow, no other is looked at."""
        if self._broken_at is not None:
            return
        self._number += 1
        entry = _read(text)
        if entry is None:
            self._torn += text + b"\n"
        elif entry["previous"] != self._digest or entry.get("torn") != (_digest(self._torn) if self._torn else None):
            self._broken_at = self._number
        else:
            self._digest, self._torn, self._whole = _digest(text), b"", self._whole + 1

    def verdict(self) -> Verdict:
        """Return what was found so far."""
        is_end_torn = self._broken_at is None and bool(self._torn)
        return Verdict(self._whole, broken_at=self._broken_at, is_end_torn=is_end_torn)


def verify(lines: Iterable[bytes]) -> Verdict:
    """Check a log, line by line as a file yields them, with their line ends."""
    check = ChainCheck()
    for line in lines:
        check.take(line.removesuffix(b"\n"))
    return check.verdict()


def _read(line: bytes) -> dict[str, Any] | None:
    """The entry in a whole line; None if it is not one."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and "previous" in entry else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
