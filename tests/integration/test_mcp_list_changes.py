"""What a server offers is listed again when the server says so, over every transport and in both eras."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

from services.runtime.config.connections import Connection
from services.worker.mcp.keeper import SessionKeeper
from services.worker.mcp.keeping import KeepingPolicy
from services.worker.mcp.opening import SessionOpener
from services.worker.mcp.session import EraName
from tests.support.fleet import Fleet, fleet, python_server
from tests.support.mcp_servers.old_http import OldServer
from tests.support.mcp_servers.raw_http import Request, raw_server
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SERVER = "tests.support.mcp_servers.changing"
KINDS: list[tuple[Literal["stdio", "http", "sse"], EraName]] = [
    ("stdio", "modern"),
    ("stdio", "legacy"),
    ("http", "modern"),
    ("http", "legacy"),
    ("sse", "legacy"),
]
CHANGED = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'


@asynccontextmanager
async def keeping(opener: SessionOpener, **policy: float) -> AsyncIterator[SessionKeeper]:
    """Keep a session, without listing now and then."""
    numbers = KeepingPolicy(**{"relist_every_s": 3600, **policy})
    keeper = SessionKeeper(opener.open, owns_process=opener.owns_process, policy=numbers)
    task = asyncio.create_task(keeper.run())
    try:
        await until(lambda: keeper.session is not None, timeout_s=20)
        yield keeper
    finally:
        task.cancel()
        await asyncio.wait([task])


def to(url: str) -> SessionOpener:
    return SessionOpener(Connection(transport="http", url=url, cwd=ROOT))


def offered(keeper: SessionKeeper) -> list[str]:
    catalogue = keeper.status.catalogue
    return [] if catalogue is None else [tool["name"] for tool in catalogue.tools]


async def learn(keeper: SessionKeeper, *names: str) -> None:
    params = {"name": "learn", "arguments": {"names": names}}
    await keeper.request("tools/call", json.dumps(params).encode(), timeout_s=10)


@pytest.mark.parametrize(("transport", "era"), KINDS)
async def test_what_a_server_of_the_sdk_learns_is_offered_at_once(
    transport: Literal["stdio", "http", "sse"], era: EraName
) -> None:
    command: tuple[str, ...] = (sys.executable, "-m", SERVER)
    url = None
    if transport != "stdio":
        port = free_port()
        command = (*command, "--port", str(port), *(["--sse"] if transport == "sse" else []))
        url = f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"
    connection = Connection(transport=transport, command=command, url=url, cwd=ROOT)
    tasks = asyncio.all_tasks()
    async with keeping(SessionOpener(connection, era=era)) as keeper:
        for name in ("one", "two"):
            await learn(keeper, name)
            await until(lambda name=name: name in offered(keeper))  # type: ignore[misc]
    await until(lambda: asyncio.all_tasks() == tasks)


async def tools(running: Fleet) -> list[str]:
    return [tool["tool"]["name"] for tool in (await running.get("/v1/tools")).json["tools"]]


async def test_callers_can_use_at_once_what_a_server_has_learnt() -> None:
    async with fleet({"school": python_server(SERVER)}) as running:
        taught = {"server": "school", "tool": "learn", "arguments": {"names": ["sum"]}}
        assert (await running.ask_http(taught)).status == 200
        with anyio.fail_after(10):
            while "sum" not in await tools(running):
                await anyio.sleep(0.02)
        assert (await running.ask_http({"server": "school", "tool": "sum"})).status == 200


class ModernServer:
    """A server of 2026-07-28 whose subscriptions the test answers."""

    def __init__(self, capabilities: dict[str, Any]) -> None:
        self.capabilities = capabilities
        self.refusal: bytes | None = None
        self.listens: list[Request] = []
        self.streams: list[Request] = []
        self.listings = 0
        self.probes = 0
        self.is_hung = False
        """Whether it leaves subscriptions without an answer."""

    async def handle(self, request: Request, reader: asyncio.StreamReader) -> None:
        method = request.json["method"]
        if method == "server/discover":
            self.probes += 1
            found = {"supportedVersions": ["2026-07-28"], "capabilities": self.capabilities, "resultType": "complete"}
            await request.result(json.dumps(found).encode())
        elif method == "subscriptions/listen":
            self.listens.append(request)
            await self._listen(request, reader)
        else:
            self.listings += method == "tools/list"
            empty = b'"prompts":[],"resources":[],"resourceTemplates":[]'
            await request.result(b'{"tools":[{"name":"listed-%d"}],%s}' % (self.listings, empty))

    async def _listen(self, request: Request, reader: asyncio.StreamReader) -> None:
        if self.refusal is not None:
            await request.error(404, self.refusal)
            return
        if not self.is_hung:
            await request.begin_events()
        self.streams.append(request)
        await request.wait_until_closed(reader)
        self.streams.remove(request)
        request.writer.close()

    async def say(self, message: bytes) -> None:
        await self.streams[-1].write(b"data: %s\n\n" % message)


TELLING = {"tools": {"listChanged": True}, "prompts": {"listChanged": False}, "resources": {"listChanged": True}}


async def test_a_subscription_asks_for_the_changes_that_the_server_says_it_tells() -> None:
    modern = ModernServer(TELLING)
    async with raw_server(modern.handle, discovers=False) as server, keeping(to(server.url)):
        await until(lambda: modern.streams)
    listen = modern.listens[0]
    assert listen.headers["mcp-method"] == "subscriptions/listen"
    assert listen.json["params"]["notifications"] == {"toolsListChanged": True, "resourcesListChanged": True}
    assert listen.json["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert len(modern.listens) == 1


async def test_what_changed_before_the_subscription_began_and_what_changes_later_is_listed() -> None:
    modern = ModernServer(TELLING)
    async with raw_server(modern.handle, discovers=False) as server, keeping(to(server.url)) as keeper:
        await until(lambda: modern.streams)
        assert offered(keeper) == ["listed-1"]
        await modern.say(b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}')
        await until(lambda: offered(keeper) == ["listed-2"])
        await modern.say(CHANGED)
        await until(lambda: offered(keeper) == ["listed-3"])


async def test_a_burst_of_changes_is_listed_few_times() -> None:
    modern = ModernServer(TELLING)
    async with raw_server(modern.handle, discovers=False) as server, keeping(to(server.url), probe_every_s=0.3):
        await until(lambda: modern.streams)
        await modern.streams[0].write(b"data: %s\n\n" % CHANGED * 500)
        await until(lambda: modern.listings >= 2)
        before = modern.probes
        await until(lambda: modern.probes >= before + 3)
        assert modern.listings <= 3


@pytest.mark.parametrize("end", ["result", "hang-up"])
async def test_a_subscription_that_ends_is_begun_again(end: str) -> None:
    modern = ModernServer(TELLING)
    async with raw_server(modern.handle, discovers=False) as server, keeping(to(server.url)) as keeper:
        for number in range(1, 4):
            await until(lambda number=number: len(modern.listens) == number and modern.streams)  # type: ignore[misc]
            if end == "result":
                await modern.say(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % modern.listens[-1].json["id"])
            else:
                modern.streams[-1].writer.close()
        assert keeper.session is not None
        assert keeper.status.restarts == 0


async def test_a_subscription_that_is_never_answered_harms_nothing() -> None:
    modern = ModernServer(TELLING)
    modern.is_hung = True
    fast = {"relist_every_s": 0.3, "probe_every_s": 0.3, "probe_timeout_s": 0.3}
    async with raw_server(modern.handle, discovers=False) as server, keeping(to(server.url), **fast) as keeper:
        await until(lambda: modern.streams)
        await until(lambda: modern.listings >= 4)
        assert (keeper.status.state, keeper.status.restarts) == ("up", 0)
        assert await keeper.request("tools/call", b'{"name":"x"}', timeout_s=5)
        assert len(modern.listens) == 1


async def test_a_server_that_refuses_a_subscription_is_asked_once() -> None:
    modern = ModernServer(TELLING)
    modern.refusal = b'{"code":-32601,"message":"Method not found"}'
    async with (
        raw_server(modern.handle, discovers=False) as server,
        keeping(to(server.url), relist_every_s=0.3) as keeper,
    ):
        # Its lists are still read now and then.
        await until(lambda: modern.listings >= 3)
        assert len(modern.listens) == 1
        assert keeper.status.restarts == 0


async def test_a_server_that_tells_no_changes_is_not_asked_for_any() -> None:
    modern = ModernServer({"tools": {}, "prompts": {"listChanged": "yes"}, "resources": True})
    async with raw_server(modern.handle, discovers=False) as server, keeping(to(server.url), relist_every_s=0.3):
        await until(lambda: modern.listings >= 3)
    assert modern.listens == []


async def test_the_subscription_ends_with_the_session() -> None:
    modern = ModernServer(TELLING)
    async with raw_server(modern.handle, discovers=False) as server:
        async with keeping(to(server.url)):
            await until(lambda: modern.streams)
        await until(lambda: not modern.streams)
        assert len(modern.listens) == 1


async def test_in_the_handshake_era_a_stream_of_the_session_tells_of_changes_and_its_requests_are_answered() -> None:
    old = OldServer(stream=200)
    async with raw_server(old.handle, discovers=False) as server:
        async with keeping(to(server.url)):
            await until(lambda: old.streams)
            await until(lambda: old.methods().count("tools/list") == 2)
            stream = old.streams[0]
            assert stream.headers["accept"] == "text/event-stream"
            assert stream.headers["mcp-session-id"] == "s0"
            assert stream.headers["mcp-protocol-version"] == "2025-06-18"
            await stream.write(b'data: {"jsonrpc":"2.0","id":"p","method":"ping"}\n\n')
            await stream.write(b'data: {"jsonrpc":"2.0","id":"s","method":"sampling/createMessage","params":{}}\n\n')
            await stream.write(b"id: 7\ndata: %s\n\n" % CHANGED)
            await until(lambda: old.methods().count("tools/list") == 3)
            answers = [request for request in old.seen if request.body and "method" not in request.json]
            assert [answer.json.get("result", answer.json.get("error", {}).get("code")) for answer in answers] == [
                {},
                -32601,
            ]
            assert {answer.headers["accept"] for answer in answers} == {"application/json, text/event-stream"}
        await until(lambda: not old.streams)


async def test_a_server_without_such_a_stream_is_asked_once_for_each_session() -> None:
    old = OldServer(stream=405)
    async with raw_server(old.handle, discovers=False) as server, keeping(to(server.url), relist_every_s=0.3):
        await until(lambda: old.methods().count("tools/list") >= 3)
        assert old.methods().count("GET") == 1
        old.known.clear()
        await until(lambda: old.methods().count("GET") == 2)
        before = old.methods().count("tools/list")
        await until(lambda: old.methods().count("tools/list") >= before + 2)
        assert [request.headers["mcp-session-id"] for request in old.seen if request.method == "GET"] == ["s0", "s1"]


async def test_the_next_session_has_a_stream_of_its_own() -> None:
    old = OldServer(stream=200)
    async with raw_server(old.handle, discovers=False) as server, keeping(to(server.url)):
        await until(lambda: old.streams)
        # The server forgets the session and leaves its stream open.
        old.known.clear()
        await until(lambda: [stream.headers["mcp-session-id"] for stream in old.streams] == ["s1"])


@pytest.mark.parametrize("status", [409, 503])
async def test_a_stream_that_cannot_be_had_now_is_asked_for_again(status: int) -> None:
    old = OldServer(stream=status)
    async with raw_server(old.handle, discovers=False) as server, keeping(to(server.url)) as keeper:
        await until(lambda: old.methods().count("GET") >= 3)
        old.stream = 200
        await until(lambda: old.streams)
        assert keeper.status.restarts == 0
