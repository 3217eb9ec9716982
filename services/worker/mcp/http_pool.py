"""The connections to one server: kept alive for a moment after each response, as many as are needed at once."""

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType
from yarl import URL

from services.worker.mcp.http_connection import HttpConnection, HttpError

CONNECT_TIMEOUT_S: Final = 3.0
KEEP_ALIVE_S: Final = 4.0
"""Below the five seconds after which uvicorn and Node close an idle connection: a request must not meet that."""
_RESOLVE_TIMEOUT_S: Final = 10.0
"""Longer than the five after which a resolver asks the next of its name servers."""
_RESOLVED_S: Final = 10.0
"""How long a name's addresses are taken for the same."""
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
        self._host = url.raw_host or ""
        self._port = url.port or 0
        self._is_secure = url.scheme == "https"
        self._addresses: Sequence[AddrInfoType] = ()
        self._resolved_at = 0.0
        self._free: deque[HttpConnection] = deque()
        """The one that was used last is last."""
        self._all: set[HttpConnection] = set()
        self._clean_up: asyncio.TimerHandle | None = None
        self._is_closed = False

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
        connection = await self._connect()
        if self._is_closed:
            connection.abort()
            raise ConnectError
        return connection

    def close(self) -> None:
        """Close all, whatever is under way; there are no more."""
        self._is_closed = True
        if self._clean_up is not None:
            self._clean_up.cancel()
        for connection in list(self._all):
            connection.abort()

    async def _connect(self) -> HttpConnection:
        try:
            addresses = await self._resolve()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connected = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S
                )
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: HttpConnection(self._keep, self._all.discard),
                sock=connected,
                ssl=_trusted() if self._is_secure else None,
                server_hostname=self._host.rstrip(".") if self._is_secure else None,
                ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S if self._is_secure else None,
            )
        except TimeoutError as error:
            raise ConnectTimeoutError from error
        except (OSError, RuntimeError, UnicodeError) as error:
            raise ConnectError from error
        if connection.is_open:
            self._all.add(connection)
        return connection

    async def _resolve(self) -> Sequence[AddrInfoType]:
        """Return the addresses of the host."""
        if not self._addresses or time.monotonic() - self._resolved_at > _RESOLVED_S:
            async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
                loop = asyncio.get_running_loop()
                self._addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._resolved_at = time.monotonic()
        return list(self._addresses)

    def _keep(self, connection: HttpConnection) -> None:
        connection.free_since = time.monotonic()
        self._free.append(connection)
        if self._clean_up is None and not self._is_closed:
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
