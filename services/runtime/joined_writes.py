"""uvicorn's HTTP protocol, in which the head of an answer goes out together with what follows it at once: its body.

uvicorn writes both one after the other, and each write is a system call, of which an answer to a query has no others.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LARGE_BYTES: Final = 16 * 1024
"""More than this is not held back: who writes it must find out whether the caller keeps up."""


class JoinedWrites(asyncio.Transport):
    """What is written in one turn of the event loop, and is small, is one write in the next."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Write to `transport`."""
        super().__init__()
        self._transport = transport
        self._held: list[bytes] = []
        self._held_bytes = 0
        # The calls that uvicorn makes for each request go straight on.
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
            asyncio.get_running_loop().call_soon(self._let_go)
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
        self._held.clear()
        self._transport.abort()

    def _let_go(self) -> None:
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            if not self._transport.is_closing():
                self._transport.write(b"".join(held))


class JoiningProtocol(HttpToolsProtocol):
    """uvicorn's, before such a transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(JoinedWrites(cast("asyncio.Transport", transport)))
