"""Sessions over streamable HTTP with servers whose every byte the test writes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.runtime.config.connections import Connection
from services.worker.mcp.opening import SessionOpener
from services.worker.mcp.session import Session
from tests.support.mcp_servers.raw_http import Handler, RawServer, Request, raw_server

ODD_RESULT = b'{ "n":1.0e5,"big":123456789012345678901234567890,"u":"\\u00fc\xc3\xbc","n":0.10, "x":{"y":[{}]}}'


def opener(url: str) -> SessionOpener:
    """What opens sessions with the server at `url`."""
    return SessionOpener(Connection(transport="http", url=url, cwd=Path(), headers={"x-secret": "configured"}))


@asynccontextmanager
async def opened(handler: Handler) -> AsyncIterator[tuple[RawServer, Session]]:
    """Serve `handler`, and open a session with it."""
    async with raw_server(handler) as server, opener(server.url).open() as session:
        yield server, session


async def call(session: Session, timeout_s: float = 10, **options: Any) -> bytes:
    """Call the tool `x`."""
    return await session.request("tools/call", b'{"name":"x","arguments":{}}', timeout_s=timeout_s, **options)


def response(request: Request, result: bytes = ODD_RESULT) -> bytes:
    """Return the response to a request."""
    return b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request.json["id"], result)
