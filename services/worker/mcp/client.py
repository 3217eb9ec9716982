"""The HTTP client of a session: the configured headers, and the access token if there is one, go with every request."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from yarl import URL

from services.runtime.errors import NoWorkerError
from services.worker.mcp.oauth import TokenSource
from services.worker.mcp.transport import Exchange

CONNECT_TIMEOUT_S: Final = 3.0
KEEP_ALIVE_S: Final = 4.0
"""Below the five seconds after which uvicorn and Node close an idle connection: a request must not meet that."""

_HEADERS: Final = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "user-agent": "busbar",
}


class Client:
    """Sends requests to one server."""

    def __init__(self, http: aiohttp.ClientSession, configured: Mapping[str, str], tokens: TokenSource | None) -> None:
        """Send through `http`, with the `configured` headers; `tokens` if the server wants one."""
        self._http = http
        self._configured = configured
        self._tokens = tokens

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str | URL,
        headers: Mapping[str, str],
        *,
        data: bytes | None = None,
        exchange: Exchange | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and yield the response; `exchange` is marked when it is on its way.

        A request that the server refuses with 401 did not run: with a new token it is sent again, once.

        Raises:
            NoWorkerError: there is no token, or the server refuses the new one too.
            aiohttp.ClientError: as aiohttp does.
        """
        if self._tokens is None:
            async with self._send(method, url, {**self._configured, **headers}, data, exchange) as response:
                yield response
            return
        for _ in range(2):
            token = await self._tokens.token()
            authorized = {**self._configured, **headers, "authorization": f"Bearer {token}"}
            async with self._send(method, url, authorized, data, exchange) as response:
                if response.status != 401:
                    yield response
                    return
            self._tokens.drop(token)
            if exchange is not None:
                exchange.was_sent = False
        raise NoWorkerError

    def _send(
        self, method: str, url: str | URL, headers: Mapping[str, str], data: bytes | None, exchange: Exchange | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send once: aiohttp repeats idempotent methods only. Redirects could lead credentials astray."""
        return self._http.request(
            method, url, data=data, headers=headers, allow_redirects=False, trace_request_ctx=exchange
        )


@asynccontextmanager
async def open_client(configured: Mapping[str, str], tokens: TokenSource | None) -> AsyncIterator[Client]:
    """Open the one HTTP client of a session: no limit on connections, no cookies, no proxies from the environment."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(_mark_sent)
    async with aiohttp.ClientSession(
        headers=_HEADERS,
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        trace_configs=[tracing],
        read_bufsize=2**18,
    ) as http:
        yield Client(http, configured, tokens)


async def _mark_sent(_client: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.was_sent = True
