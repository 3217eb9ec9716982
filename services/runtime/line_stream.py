"""A stream of lines that is written by a thread of its own: a slow reader costs lines, never a query's time."""

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

_MOST_WAITING: Final = 10_000
_AT_ONCE: Final = 1_000
_LAST_WORDS_S: Final = 2.0


class LineStream:
    """Takes lines at once; made by `open_line_stream`."""

    def __init__(self, descriptor: int, *, most_waiting: int) -> None:
        self._descriptor = descriptor
        self._waiting: queue.Queue[str | None] = queue.Queue(most_waiting)
        # A daemon: one that is stuck in a pipe that nobody reads must not keep the process.
        self._thread = threading.Thread(target=self._write_out, name="lines", daemon=True)
        self._thread.start()
        self.dropped = 0
        """Lines for which there was no room."""

    def write(self, line: str) -> None:
        """Have `line` written, or drop it while too many wait."""
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Return when all is written, or after two seconds."""
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_LAST_WORDS_S)
        self._thread.join(_LAST_WORDS_S)

    def _write_out(self) -> None:
        while True:
            lines = [self._waiting.get()]
            with suppress(queue.Empty):
                while len(lines) < _AT_ONCE and lines[-1] is not None:
                    lines.append(self._waiting.get_nowait())
            # Where the reader has gone, what comes is lost. Nothing is left in a buffer that would fail at the exit.
            with suppress(OSError):
                rest = "".join(f"{line}\n" for line in lines if line is not None).encode()
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            if lines[-1] is None:
                return


@asynccontextmanager
async def open_line_stream(descriptor: int, *, most_waiting: int = _MOST_WAITING) -> AsyncIterator[LineStream]:
    """Yield a stream to an open file, which stays open in the end; `most_waiting` lines are kept for a slow reader."""
    stream = LineStream(descriptor, most_waiting=most_waiting)
    try:
        yield stream
    finally:
        await asyncio.to_thread(stream.close)
