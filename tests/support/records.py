"""The lines of the two files that an account is made of: the server's ledger and the driver's record.

Both are JSON lines. Times (`at`) are seconds since the epoch by the clock of the one machine that tests run on.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec


class LedgerLine(msgspec.Struct, frozen=True):
    """What the server did with a call: `start` is on the disk before the effect, `end` before the answer."""

    id: str
    event: Literal["start", "end", "cancelled"]
    pid: int
    at: float


class Sent(msgspec.Struct, frozen=True, tag_field="event", tag="sent"):
    """A query that is about to be sent."""

    id: str
    at: float


class Told(msgspec.Struct, frozen=True, tag_field="event", tag="told"):
    """What the caller of a query was told."""

    id: str
    at: float
    status: int
    """As in HTTP; 0 where nothing came back but the end of the connection."""
    code: str | None
    """Of the problem, or `connection`, `no_responders`, `unreadable`; None with a result."""
    executed: str | None
    """`no` or `maybe`; None with a result."""
    ms: float
    """From just before the sending to the answer, in milliseconds."""
    instance: str | None = None
    server: str | None = None
    attempts: int | None = None
    is_error: bool = False
    """Whether the result says so of itself: the tool failed, the call did not."""


class LoadSummary(msgspec.Struct, frozen=True):
    """What the load driver prints at its end, as one line."""

    sent: int
    answered: int
    refused: dict[str, int]
    unanswered: int
    """Queries of which nothing was heard until well after their deadline."""
    elapsed_s: float
    rate_per_s: float
    """Queries sent a second."""
    p50_ms: float
    p99_ms: float
    behind_s: float
    """By how much the driver was late at worst to send what the rate asked for; 0.0 without a rate."""


RecordLine = Sent | Told

encode_line = msgspec.json.Encoder().encode


def read_ledger(path: Path) -> Iterator[LedgerLine]:
    """Yield the ledger's lines; none if no server has written there yet.

    Raises:
        msgspec.ValidationError: a line is not of a ledger.
    """
    decoder = msgspec.json.Decoder(LedgerLine)
    return (decoder.decode(line) for line in _whole_lines(path))


def read_record(path: Path) -> Iterator[RecordLine]:
    """Yield the record's lines; none if nothing was sent yet.

    Raises:
        msgspec.ValidationError: a line is not of a record.
    """
    decoder = msgspec.json.Decoder(RecordLine)
    return (decoder.decode(line) for line in _whole_lines(path))


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    # What follows the last newline is empty, or a line that is being written now.
    return path.read_bytes().split(b"\n")[:-1]
