"""The HTTP client of a session: the configured headers, and the access token if there is one, go with every request."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from yarl import URL

from services.runtime.errors import NoWorkerError
from services.worker.mcp.http_connection import HttpError, Response
from services.worker.mcp.http_pool import HttpPool
from services.worker.mcp.transport import Exchange

if TYPE_CHECKING:
    from services.worker.mcp.oauth import TokenSource

_HEADERS: Final = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "user-agent": "busbar",
}
_IN_ANY_CASE: Final = {"accept-encoding": "identity"}
"""Whoever's headers say otherwise: we read no compressed bodies."""


class Client:
    """Sends requests to one server."""

    def __init__(self, url: URL, pool: HttpPool, configured: Mapping[str, str], tokens: "TokenSource | None") -> None:
        """Send through `pool`, with the `configured` headers; `tokens` if the server wants one."""
        self.url = url
        self._pool = pool
        host = url.host_port_subcomponent or ""
        self._headers = {"host": host, **_HEADERS, **_of_user(url), **configured, **_IN_ANY_CASE}
        self._lines = _lines(self._headers)
        self._tokens = tokens

    async def send(
        self,
        method: str,
        headers: Mapping[str, str],
        *,
        url: URL | None = None,
        data: bytes = b"",
        exchange: Exchange | None = None,
    ) -> Response:
        """Send one request and return the response once its headers are there; use it as a context, so that it ends.

        A request that the server refuses with 401 did not run: with a new token it is sent again, once. No other is
        sent twice, and redirects are not followed: they could lead credentials astray.

        Args:
            method: of HTTP.
            headers: beside the configured ones; names in lower case.
            url: of this server; None: the configured one.
            data: the body.
            exchange: is marked when the request is on its way.

        Raises:
            NoWorkerError: there is no token, or the server refuses the new one too.
            HttpError: there is no response; `exchange` says whether any of the request was sent.
        """
        path = (url or self.url).raw_path_qs
        if self._tokens is None:
            return await self._ask(self._request(method, path, headers, data), exchange)
        for _ in range(2):
            token = await self._tokens.token()
            authorized = {**headers, "authorization": f"Bearer {token}"}
            response = await self._ask(self._request(method, path, authorized, data), exchange)
            if response.status != 401:
                return response
            with response:
                self._tokens.drop(token)
            if exchange is not None:
                exchange.was_sent = False
        raise NoWorkerError

    def _request(self, method: str, path: str, headers: Mapping[str, str], data: bytes) -> bytes:
        """Return the bytes of a request. Raises HttpError: a header would not be what it is taken for."""
        lines = [f"{method} {path} HTTP/1.1\r\n"]
        if self._headers.keys().isdisjoint(headers):
            lines += self._lines
            lines += _lines(headers)
        else:
            lines += _lines({**self._headers, **headers, **_IN_ANY_CASE})
        if data or method == "POST":
            lines.append(f"content-length: {len(data)}\r\n")
        head = "".join(lines)
        if head.count("\n") != len(lines) or head.count("\r") != len(lines):
            raise HttpError
        return f"{head}\r\n".encode() + data

    async def _ask(self, request: bytes, exchange: Exchange | None) -> Response:
        def note() -> None:
            if exchange is not None:
                exchange.was_sent = True

        connection = await self._pool.connection()
        return await connection.ask(request, note)


@asynccontextmanager
async def open_client(url: str, configured: Mapping[str, str], tokens: "TokenSource | None") -> AsyncIterator[Client]:
    """Open the one HTTP client of a session; its connections end with it. Raises NoWorkerError: the URL is none."""
    try:
        address = URL(url)
    except ValueError as error:
        raise NoWorkerError from error
    pool = HttpPool(address)
    try:
        yield Client(address, pool, configured, tokens)
    finally:
        pool.close()


def _of_user(url: URL) -> Mapping[str, str]:
    """What a URL with a user in it says. Source: RFC 7617."""
    if url.user is None:
        return {}
    return {"authorization": "Basic " + base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()}


def _lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}\r\n" for name, value in headers.items()]
