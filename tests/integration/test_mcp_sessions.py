"""What every session does, whatever its transport and era: one suite against a server of the official SDK."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anyio
import pytest

from services.runtime.config.connections import Connection
from services.runtime.errors import (
    DeadlineExceededError,
    ResultTooLargeError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.worker.mcp.opening import SessionOpener
from services.worker.mcp.session import MAX_RESULT_BYTES, EraName, Hearing, Session
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SERVER = (sys.executable, "-m", "tests.support.mcp_servers.sdk_server")


class Kind(NamedTuple):
    transport: Literal["stdio", "http", "sse"]
    era: EraName


KINDS = [
    Kind("stdio", "modern"),
    Kind("stdio", "legacy"),
    Kind("http", "modern"),
    Kind("http", "legacy"),
    Kind("sse", "legacy"),
]


class Served(NamedTuple):
    session: Session
    events: Path

    async def call(self, tool: str, arguments: Any, timeout_s: float = 10, **options: Any) -> Any:
        params = json.dumps({"name": tool, "arguments": arguments}).encode()
        return json.loads(await self.session.request("tools/call", params, timeout_s=timeout_s, **options))

    def happened(self, event: str) -> bool:
        return self.events.exists() and event in self.events.read_text().split()


@asynccontextmanager
async def serve(kind: Kind, folder: Path) -> AsyncIterator[Served]:
    events = folder / "events"
    command: tuple[str, ...] = (*SERVER, "--events", str(events))
    url = None
    if kind.transport != "stdio":
        port = free_port()
        command = (*command, "--port", str(port), *(["--sse"] if kind.transport == "sse" else []))
        url = f"http://127.0.0.1:{port}/{'sse' if kind.transport == 'sse' else 'mcp'}"
    connection = Connection(
        transport=kind.transport, command=command, url=url, cwd=ROOT, headers={"x-own": "configured"}
    )
    opener = SessionOpener(connection, era=kind.era, log_path=folder / "stderr.log")
    async with AsyncExitStack() as stack:
        with anyio.fail_after(20):
            session = await stack.enter_async_context(opener.open())
        yield Served(session, events)


@pytest.fixture(params=KINDS, ids="-".join, scope="module")
async def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A session that the tests of a kind share: none of them harms it."""
    async with serve(request.param, tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(params=KINDS, ids="-".join)
async def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """A session and a server of a test's own."""
    async with serve(request.param, tmp_path) as fresh:
        yield fresh


async def test_the_server_says_who_it_is(served: Served) -> None:
    info = served.session.server_info
    assert (info.name, info.version) == ("fixture", "1.2.3")
    assert info.protocol_version == {"modern": "2026-07-28", "legacy": "2025-11-25"}[info.era]


async def test_the_catalogue_is_what_the_server_offers(served: Served) -> None:
    catalogue = await served.session.catalogue()
    assert {"echo", "sleep", "fill"} <= {tool["name"] for tool in catalogue.tools}
    assert [resource["uri"] for resource in catalogue.resources] == ["fixture://words"]
    assert [template["uriTemplate"] for template in catalogue.resource_templates] == ["fixture://squares/{number}"]
    assert [prompt["name"] for prompt in catalogue.prompts] == ["greeting"]
    assert all("inputSchema" in tool for tool in catalogue.tools)


async def test_tools_resources_and_prompts_are_answered(served: Served) -> None:
    assert (await served.call("echo", {"value": [1, "ü"]}))["structuredContent"] == {"result": '[1, "ü"]'}
    words = await served.session.request("resources/read", b'{"uri":"fixture://words"}', timeout_s=5)
    assert json.loads(words)["contents"][0]["text"] == "zwei Wörter"
    prompt = await served.session.request("prompts/get", b'{"name":"greeting","arguments":{"name":"Ada"}}', timeout_s=5)
    assert json.loads(prompt)["messages"][0]["content"]["text"] == "Hello, Ada"


async def test_any_text_arrives_and_returns(served: Served) -> None:
    for value in ("ünïcödé 🚌", "line\nbreak\r\n\t\u2028", '"quotes" \\ =?base64?eA==?=', " edge ", ""):
        assert json.loads((await served.call("echo", {"value": value}))["content"][0]["text"]) == value


async def test_a_name_that_no_header_can_carry_reaches_the_server(served: Served) -> None:
    answer = await served.call("näme\n", {})
    assert answer["isError"] is True


async def test_200_concurrent_calls_are_each_answered_with_their_own(served: Served) -> None:
    with anyio.fail_after(30):
        answers = await asyncio.gather(*(served.call("echo", {"value": number}) for number in range(200)))
    assert [answer["structuredContent"]["result"] for answer in answers] == [str(number) for number in range(200)]


async def test_a_slow_call_does_not_hold_up_others(fresh: Served) -> None:
    slow = asyncio.ensure_future(fresh.call("sleep", {"seconds": 600}, timeout_s=600))
    await until(lambda: fresh.happened("started"))
    await fresh.call("echo", {"value": 1})
    slow.cancel()
    await asyncio.wait([slow])


async def test_results_of_many_megabytes_arrive_whole(served: Served) -> None:
    for characters in (1_500_000, 7_500_000):
        # The SDK's server says everything twice: in `content` and in `structuredContent`.
        answer = await served.call("fill", {"size": characters}, timeout_s=20)
        assert answer["structuredContent"]["result"] == "x" * characters


async def test_a_result_over_the_cap_is_refused_and_the_session_lives_on(served: Served) -> None:
    with pytest.raises(ResultTooLargeError):
        await served.call("fill", {"size": MAX_RESULT_BYTES // 2}, timeout_s=20)
    assert (await served.call("echo", {"value": 1}))["isError"] is False


async def test_progress_arrives_before_the_result_and_only_at_who_asked(served: Served) -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    await asyncio.gather(
        served.call("count", {"to": 3}, hearing=Hearing(first.append)),
        served.call("count", {"to": 5}, hearing=Hearing(second.append)),
        served.call("count", {"to": 9}),
    )
    assert [json.loads(progress)["progress"] for progress in first] == [1, 2, 3]
    assert [json.loads(progress)["total"] for progress in second] == [5] * 5


async def test_a_json_rpc_error_is_carried_as_it_is(served: Served) -> None:
    with pytest.raises(UpstreamRefusedError) as refusal:
        await served.session.request("no/such/method", b"{}", timeout_s=5)
    assert json.loads(refusal.value.mcp_error or b"")["code"] == -32601


async def test_a_call_that_outlasts_its_timeout_is_cancelled_at_the_server(fresh: Served) -> None:
    with pytest.raises(DeadlineExceededError):
        await fresh.call("sleep", {"seconds": 600}, timeout_s=0.5)
    await until(lambda: fresh.happened("cancelled"))


async def test_a_caller_that_goes_away_cancels_its_call_at_the_server(fresh: Served) -> None:
    call = asyncio.ensure_future(fresh.call("sleep", {"seconds": 600}, timeout_s=600))
    await until(lambda: fresh.happened("started"))
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await until(lambda: fresh.happened("cancelled"))


async def test_the_probe_is_a_round_trip(served: Served) -> None:
    assert 0 < await served.session.probe(5) < 5


async def test_a_server_that_dies_fails_the_calls_in_flight_and_the_session(fresh: Served) -> None:
    calls = [asyncio.ensure_future(fresh.call("sleep", {"seconds": 600}, timeout_s=600)) for _ in range(3)]
    await until(lambda: fresh.happened("started"))
    with anyio.fail_after(10):
        with pytest.raises(UpstreamError):
            await fresh.call("crash", {})
        for call in calls:
            with pytest.raises(UpstreamError):
                await call
        assert await fresh.session.closed() == "Process exited"


async def test_the_environment_of_the_server_holds_none_of_our_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUSBAR_NATS_URL", "nats://user:hush@127.0.0.1")
    async with serve(Kind("stdio", "modern"), tmp_path) as served:
        environment = (await served.call("environment", {}))["structuredContent"]
    assert "hush" not in str(environment)
    assert "PATH" in str(environment)
