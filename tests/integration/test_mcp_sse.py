"""The old HTTP+SSE transport against a server whose every byte the test writes; see also test_mcp_sessions."""

import asyncio
from pathlib import Path

import anyio
import pytest

from services.runtime.config.connections import Connection
from services.runtime.errors import UpstreamError
from services.worker.mcp.opening import SessionOpener
from services.worker.mcp.session import OpenError
from tests.support.mcp_servers.raw_http import Request, raw_server
from tests.support.servers import free_port

pytestmark = pytest.mark.anyio

INITIALIZED = b'{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"old","version":"1"}}'


class OldServer:
    """Answers on its one stream; a call of the tool `hang-up` ends that."""

    def __init__(self, endpoint: bytes = b"/messages?session=1") -> None:
        self.endpoint = endpoint
        self.stream: Request | None = None
        self.posts: list[Request] = []

    async def handle(self, request: Request, reader: asyncio.StreamReader) -> None:
        if request.method == "GET":
            self.stream = request
            await request.begin_events()
            await request.write(b"event: endpoint\r\ndata: " + self.endpoint + b"\r\n\r\n")
            await request.wait_until_closed(reader)
            return
        self.posts.append(request)
        await request.answer(b"Accepted", status=202, kind="text/plain")
        assert self.stream is not None
        if b"hang-up" in request.body:
            self.stream.writer.close()
        elif "id" in request.json:
            result = INITIALIZED if request.json["method"] == "initialize" else b'{"n": 1.0e5}'
            message = b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request.json["id"], result)
            await self.stream.write(b"event: message\r\ndata: " + message + b"\r\n\r\n")


def opener(url: str) -> SessionOpener:
    return SessionOpener(Connection(transport="sse", url=url, cwd=Path(), headers={"x-secret": "configured"}))


async def test_requests_go_to_the_endpoint_and_results_come_as_they_are() -> None:
    old = OldServer()
    callers = {"x-tenant": "t", "x-secret": "forged"}
    async with raw_server(old.handle) as server, opener(server.url).open() as session:
        result = await session.request("tools/call", b'{"name":"x"}', timeout_s=5, headers=callers)
    assert result == b'{"n": 1.0e5}'
    assert [post.json["method"] for post in old.posts] == ["initialize", "notifications/initialized", "tools/call"]
    assert old.posts[2].headers["x-secret"] == "configured"
    assert old.posts[2].headers["x-tenant"] == "t"


async def test_a_stream_that_ends_fails_the_calls_in_flight_and_the_session() -> None:
    old = OldServer()
    async with raw_server(old.handle) as server, opener(server.url).open() as session:
        with anyio.fail_after(5):
            with pytest.raises(UpstreamError):
                await session.request("tools/call", b'{"name":"hang-up"}', timeout_s=60)
            assert await session.closed() == "Connection refused"


async def test_an_endpoint_on_another_host_is_not_used() -> None:
    old = OldServer(endpoint=b"http://127.0.0.2:9/messages")
    async with raw_server(old.handle) as server:
        with anyio.fail_after(5), pytest.raises(OpenError) as error:
            async with opener(server.url).open():
                pass
    assert error.value.fault == "Protocol error"
    assert old.posts == []


async def test_a_server_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(OpenError) as error:
        async with opener(f"http://127.0.0.1:{free_port()}/sse").open():
            pass
    assert error.value.fault == "Connection refused"
