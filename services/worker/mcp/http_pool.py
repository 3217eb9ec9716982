"""The connections to one server: kept alive for a moment after each response, as many as are needed at once."""

import asyncio
import socket
import ssl
import time
from collections import deque
from functools import lru_cache
from typing import Final

import aiohappyeyeballs
from yarl import URL

from services.worker.mcp.http_connection import HttpConnection, HttpError

CONNECT_TIMEOUT_S: Final = 3.0
KEEP_ALIVE_S: Final = 4.0
"""Below the five seconds after which uvicorn and Node close an idle connection: a request must not meet that."""
_HANDSHAKE_TIMEOUT_S: Final = 10.0
_NEXT_ADDRESS_AFTER_S: Final = 0.25
"""Of a name with several addresses (RFC 8305, section 5)."""


class ConnectError(HttpError):
    """There is no connection; nothing was sent."""


class ConnectTimeoutError(ConnectError, TimeoutError):
    """The same, and nobody said why."""


class HttpPool:
    """Connections to one origin."""

    def __init__(self, url: URL) -> None:
        """Take where they lead; none is opened before it is needed."""
        self._host = url.host or ""
        self._port = url.port or 0
        self._is_secure = url.scheme == "https"
        self._free: deque[HttpConnection] = deque()
        """The one that was used last is last."""
        self._all: set[HttpConnection] = set()
        self._clean_up: asyncio.TimerHandle | None = None

    async def connection(self) -> HttpConnection:
        """Return one on which nothing is under way: the one used last, or a new one.

        Raises:
            ConnectError: there is none to be had.
        """
        while self._free:
            connection = self._free.pop()
            if time.monotonic() - connection.free_since > KEEP_ALIVE_S:
                connection.close()
            elif connection.is_open:
                return connection
        return await self._connect()

    def close(self) -> None:
        """Close all, whatever is under way."""
        if self._clean_up is not None:
            self._clean_up.cancel()
        for connection in list(self._all):
            connection.abort()

    async def _connect(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                connected = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S, loop=loop
                )
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, connection = await loop.create_connection(
                lambda: HttpConnection(self._keep, self._all.discard),
                sock=connected,
                ssl=_trusted() if self._is_secure else None,
                server_hostname=self._host if self._is_secure else None,
                ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S if self._is_secure else None,
            )
        except TimeoutError as error:
            raise ConnectTimeoutError from error
        except OSError as error:
            raise ConnectError from error
        if connection.is_open:
            self._all.add(connection)
        return connection

    def _keep(self, connection: HttpConnection) -> None:
        connection.free_since = time.monotonic()
        self._free.append(connection)
        if self._clean_up is None:
            self._clean_up = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._close_old)

    def _close_old(self) -> None:
        """Close what nobody has used for too long; one timer for all of them."""
        self._clean_up = None
        now = time.monotonic()
        while self._free and now - self._free[0].free_since >= KEEP_ALIVE_S:
            self._free.popleft().close()
        if self._free:
            due_s = self._free[0].free_since + KEEP_ALIVE_S - now
            self._clean_up = asyncio.get_running_loop().call_later(due_s, self._close_old)


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """What Debian, or SSL_CERT_FILE, trusts; reading that takes 35 ms."""
    return ssl.create_default_context()
