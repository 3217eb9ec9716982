"""The old HTTP+SSE transport against a server whose every byte the test writes; see also test_mcp_sessions."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest

from services.runtime.config.connections import Connection
from services.runtime.errors import UpstreamError
from services.worker.mcp import sse
from services.worker.mcp.opening import SessionOpener
from services.worker.mcp.session import OpenError
from tests.support.fleet import fleet
from tests.support.mcp_servers.raw_http import Request, raw_server
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

INITIALIZED = b'{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"old","version":"1"}}'


class OldServer:
    """Answers on its one stream; a call of the tool `hang-up` ends that. Without a stream it takes no POST."""

    def __init__(
        self, endpoint: bytes = b"/messages?session=1", *, refusal: int = 405, body: bytes = b"Method Not Allowed"
    ) -> None:
        self.endpoint = endpoint
        self.refusal = refusal
        self.body = body
        self.stream: Request | None = None
        self.posts: list[Request] = []

    async def handle(self, request: Request, reader: asyncio.StreamReader) -> None:
        if request.method == "GET":
            self.stream = request
            await request.begin_events()
            await request.write(b"event: endpoint\r\ndata: " + self.endpoint + b"\r\n\r\n")
            await request.wait_until_closed(reader)
            self.stream = None
            return
        if self.stream is None:
            await request.answer(self.body, status=self.refusal, kind="text/plain")
            return
        self.posts.append(request)
        await request.answer(b"Accepted", status=202, kind="text/plain")
        if b"hang-up" in request.body:
            self.stream.writer.close()
        elif "id" in request.json:
            result = INITIALIZED if request.json["method"] == "initialize" else b'{"n": 1.0e5}'
            message = b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request.json["id"], result)
            await self.stream.write(b"event: message\r\ndata: " + message + b"\r\n\r\n")


def opener(url: str, **changes: Any) -> SessionOpener:
    options = {"transport": "sse", "cwd": Path(), "headers": {"x-secret": "configured"}, **changes}
    return SessionOpener(Connection(url=url, **options))


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


async def test_a_server_that_takes_the_connection_and_says_nothing_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen to hang without the limit on the answer to the GET."""
    monkeypatch.setattr(sse, "ENDPOINT_TIMEOUT_S", 0.2)

    async def never_answer(request: Request, reader: asyncio.StreamReader) -> None:
        await request.wait_until_closed(reader)

    async with raw_server(never_answer) as server:
        with anyio.fail_after(5), pytest.raises(OpenError) as error:
            async with opener(server.url).open():
                pass
    assert error.value.fault == "Not responding"


@pytest.mark.parametrize(
    ("refusal", "body"),
    [(400, b"Bad Request"), (404, b'{"detail":"Not Found"}'), (405, b"Method Not Allowed"), (405, b""), (406, b"x")],
)
async def test_a_url_whose_transport_is_not_said_is_found_to_speak_the_old_one(refusal: int, body: bytes) -> None:
    old = OldServer(refusal=refusal, body=body)
    async with raw_server(old.handle, discovers=False) as server, opener(server.url, transport="auto").open() as found:
        assert await found.request("tools/call", b'{"name":"x"}', timeout_s=5) == b'{"n": 1.0e5}'
        assert found.server_info.era == "legacy"
    assert [post.json["method"] for post in old.posts] == ["initialize", "notifications/initialized", "tools/call"]
    assert {request.headers["x-secret"] for request in server.requests} == {"configured"}


async def test_the_transport_that_was_found_is_tried_first_from_then_on() -> None:
    old = OldServer()
    async with raw_server(old.handle, discovers=False) as server:
        found = opener(server.url, transport="auto")
        async with found.open():
            pass
        await until(lambda: old.stream is None)
        server.requests.clear()
        async with found.open():
            assert server.requests[0].method == "GET"


async def test_a_server_that_was_upgraded_behind_its_url_is_found_again_and_one_that_was_set_back_too() -> None:
    """Seen to fail with the transport remembered for ever."""

    async def upgraded(request: Request, reader: asyncio.StreamReader) -> None:
        await request.answer(status=405)

    port = free_port()
    found = opener(f"http://127.0.0.1:{port}/mcp", transport="auto")
    for _ in range(2):
        async with raw_server(OldServer().handle, port=port, discovers=False):
            with anyio.fail_after(5):
                async with found.open() as session:
                    assert session.server_info.era == "legacy"
        async with raw_server(upgraded, port=port):
            with pytest.raises(OpenError):
                async with found.open():
                    pass
            with anyio.fail_after(5):
                async with found.open() as session:
                    assert session.server_info.era == "modern"


REFUSED = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no"}}'


@pytest.mark.parametrize(
    ("transport", "refusal", "body"),
    [
        ("auto", 200, b"<html>"),
        ("auto", 401, b"Unauthorized"),
        ("auto", 403, b"Forbidden"),
        ("auto", 503, b"Service Unavailable"),
        ("auto", 400, REFUSED),
        ("http", 405, b"Method Not Allowed"),
    ],
)
async def test_what_does_not_look_like_the_old_transport_is_not_asked_for_its_stream(
    transport: str, refusal: int, body: bytes
) -> None:
    old = OldServer(refusal=refusal, body=body)
    async with raw_server(old.handle, discovers=False) as server:
        with anyio.fail_after(5), pytest.raises(OpenError) as error:
            async with opener(server.url, transport=transport).open():
                pass
    assert error.value.fault == "Protocol error"
    assert {request.method for request in server.requests} == {"POST"}


async def test_a_server_of_the_official_sdk_needs_no_word_on_its_transport() -> None:
    port = free_port()
    command = ["python", "-m", "tests.support.mcp_servers.sdk_server", "--sse", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/sse"
    config: dict[str, dict[str, Any]] = {
        "old": {"command": command, "cwd": str(REPOSITORY), "url": url},
        "same": {"url": url},
    }
    query = {"tool": "echo", "arguments": {"value": 1}}
    async with fleet(config) as running:
        for server in config:
            answer = await running.ask_http({"server": server, **query})
            assert (answer.status, answer.json["result"]["structuredContent"]) == (200, {"result": "1"})
