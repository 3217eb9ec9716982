"""The stock client's TCP transport, which hands messages over where they come from the socket.

The stock client has a reader between the socket and its parser, and a task that the reader wakes up: another turn of
the event loop for each piece that comes, although most are whole messages that somebody takes at once.
"""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

Take = Callable[[bytes], int]
"""Takes what it can at the head of what has come; returns how much that was, in bytes."""


class EagerTransport(TcpTransport):
    """Asks `take` first; what it leaves goes the stock way."""

    def __init__(self, take: Take) -> None:
        """Begin without a connection."""
        super().__init__()
        self._take = take

    def __bool__(self) -> bool:
        """Be there: the stock client puts one of its own in the place of one that is not connected yet."""
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """See TcpTransport."""
        await super().connect(uri, buffer_size, connect_timeout)
        self._begin()

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """See TcpTransport."""
        await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        self._begin()

    def _begin(self) -> None:
        reader = self._io_reader
        assert reader is not None  # noqa: S101
        leave = reader.feed_data

        def feed(data: Any) -> None:
            # What waits in the reader comes first; and what comes on a connection that another one follows is nobody's.
            is_next = reader is self._io_reader and not reader._buffer  # type: ignore[attr-defined]
            taken = self._take(data) if is_next else 0
            if taken < len(data):
                leave(data[taken:])

        reader.feed_data = feed  # type: ignore[method-assign]
