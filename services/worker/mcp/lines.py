"""Text streams taken apart: lines, and the events of a `text/event-stream`, in time linear to their length."""

from typing import NamedTuple


class TooLongError(ValueError):
    """A line or an event is longer than can be kept."""


class CutLine(bytes):
    """The beginning and the end of a line that is longer than can be kept."""


class LineSplitter:
    """Cuts a stream of chunks into lines. A line may come in thousands of chunks; each byte is copied twice."""

    def __init__(self, limit: int, *, kept_ends: int = 0) -> None:
        """Hold at most `limit` bytes of a line that has not ended; of one that is longer, `kept_ends` at either end."""
        self._limit = limit
        self._kept_ends = kept_ends
        self._is_cut = False
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` ends, without their line feeds; a line over the limit is a `CutLine`.

        Raises:
            TooLongError: the line that goes on is over the limit, and its ends are not to be kept.
        """
        first, *rest = chunk.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        if self._size > self._limit:
            self._cut()
        if not rest:
            return []
        line = b"".join(self._pieces)
        if self._is_cut:
            line, self._is_cut = CutLine(line), False
        *lines, last = rest
        self._pieces = [last]
        self._size = len(last)
        return [line, *lines]

    def _cut(self) -> None:
        if not self._kept_ends:
            raise TooLongError
        so_far = b"".join(self._pieces)
        self._pieces = [so_far[: self._kept_ends], so_far[-self._kept_ends :]]
        self._is_cut = True


class Event(NamedTuple):
    """One event: its `event` field, `message` if it has none, and its data."""

    kind: bytes
    data: bytes


class EventSplitter:
    """Cuts a `text/event-stream` into the data of its events (WHATWG HTML, section 9.2)."""

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` bytes of an event."""
        self._lines = LineSplitter(limit)
        self._limit = limit
        self._data: list[bytes] = []
        self._kind = b"message"
        self._size = 0
        self._ended_with_return = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` ends; one without data is no event.

        Raises:
            TooLongError: the event that goes on is over the limit.
        """
        if self._ended_with_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        if not chunk:
            return []
        self._ended_with_return = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[Event] = []
        for line in self._lines.feed(chunk):
            if line:
                self._field(line)
                continue
            if data := b"\n".join(self._data):
                events.append(Event(self._kind, data))
            self._data, self._kind, self._size = [], b"message", 0
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        # The stream may open with a byte order mark.
        match name.removeprefix(b"\xef\xbb\xbf"):
            case b"data":
                self._size += len(value)
                if self._size > self._limit:
                    raise TooLongError
                self._data.append(value)
            case b"event":
                self._kind = value
