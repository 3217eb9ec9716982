"""What one turn of the event loop writes to many connections goes out back to back, at the turn's end.

Whoever waits at the other end is woken by the first of these writes, and is awake for all the others. Each written
between two pieces of our own work would wake it anew, which costs more than the write. And what is written to one
connection in several steps, a head and then a body, is one write.

Source: docs/load-testing.md, "What a query costs".
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

_LARGE_BYTES: Final = 16 * 1024
"""More than this is not held back: who writes it must find out whether the other end keeps up."""


class GatheringTransport(asyncio.Transport):
    """Writes to a transport at the end of the turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Write to `transport`."""
        super().__init__()
        self._transport = transport
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._due = _due_at_end_of_turn()
        # The calls that are made for each request go straight on.
        self.get_extra_info: Callable[..., Any] = transport.get_extra_info
        self.is_closing: Callable[[], bool] = transport.is_closing
        self.pause_reading: Callable[[], None] = transport.pause_reading
        self.resume_reading: Callable[[], None] = transport.resume_reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See asyncio.Transport."""
        self._transport.set_protocol(protocol)

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """See asyncio.Transport."""
        if not self._held:
            self._due.add(self._let_go)
        self._held.append(bytes(data))
        self._held_bytes += len(data)
        if self._held_bytes > _LARGE_BYTES:
            self._let_go()

    def close(self) -> None:
        """See asyncio.Transport."""
        self._let_go()
        self._transport.close()

    def abort(self) -> None:
        """See asyncio.Transport."""
        self._held, self._held_bytes = [], 0
        self._transport.abort()

    def _let_go(self) -> None:
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            if not self._transport.is_closing():
                self._transport.write(held[0] if len(held) == 1 else b"".join(held))


class _Due:
    """What is to be written at the end of a turn."""

    def __init__(self) -> None:
        self._writes: list[Callable[[], None]] = []

    def add(self, write: Callable[[], None]) -> None:
        if not self._writes:
            asyncio.get_running_loop().call_soon(self._write_all)
        self._writes.append(write)

    def _write_all(self) -> None:
        writes, self._writes = self._writes, []
        for write in writes:
            write()


_of_loop: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Due]] = WeakKeyDictionary()


def _due_at_end_of_turn() -> _Due:
    return _of_loop.setdefault(asyncio.get_running_loop(), _Due())
