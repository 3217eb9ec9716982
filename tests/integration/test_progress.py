"""A server's progress reaches the caller on the bus who asks for it, before the answer; nobody else notices."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from nats.aio.subscription import Subscription

from tests.support.fleet import Fleet, fleet, python_server
from tests.support.mcp_servers import bursting
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

SDK = "tests.support.mcp_servers.sdk_server"
BURSTING = "tests.support.mcp_servers.bursting"
SERVERS = ["stdio-modern", "stdio-legacy", "http-modern", "http-legacy", "sse-legacy"]
WANTED = {"mcp-progress": "1"}


def sdk_server(name: str) -> dict[str, Any]:
    transport, era = name.split("-")
    if transport == "stdio":
        return python_server(SDK, era=era)
    port = free_port()
    options, path = (["--sse"], "sse") if transport == "sse" else ([], "mcp")
    url = {"url": f"http://127.0.0.1:{port}/{path}", "transport": transport}
    return python_server(SDK, "--port", str(port), *options, era=era, **url)


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Fleet]:
    config = {name: sdk_server(name) for name in SERVERS}
    config |= {"bursting": python_server(BURSTING), "own-session": python_server(SDK, session="caller")}
    async with fleet(config) as running:
        yield running


@asynccontextmanager
async def asked(running: Fleet, query: dict[str, Any], headers: dict[str, str]) -> AsyncIterator[Subscription]:
    """Ask on the bus; yield what hears all replies."""
    client = await running.bus()
    inbox = client.new_inbox()
    heard = await client.subscribe(inbox)
    try:
        await client.publish("mcp.v1.query", json.dumps(query).encode(), reply=inbox, headers=headers)
        yield heard
    finally:
        await heard.unsubscribe()


async def replies(running: Fleet, heard: Subscription) -> tuple[list[bytes], Any]:
    """Read to the end; return the progress, and the answer's or the problem's JSON."""
    progress: list[bytes] = []
    request_ids: set[str] = set()
    while "mcp-status" not in (headers := (reply := await heard.next_msg(timeout=20)).headers or {}):
        assert headers["mcp-kind"] == "progress"
        progress.append(reply.data)
        request_ids.add(headers["mcp-request-id"])
    answer = json.loads(reply.data)
    assert request_ids <= {answer["id"]}
    # What comes later would have come before the end of another query.
    await running.ask_bus({"server": "bursting", "tool": "burst", "arguments": {"times": 0}})
    assert heard.pending_msgs == 0
    return progress, answer


def numbers(progress: list[bytes]) -> list[float]:
    return [json.loads(word)["progress"] for word in progress]


@pytest.mark.parametrize("server", SERVERS)
async def test_the_caller_hears_each_step_while_the_call_runs(running: Fleet, server: str) -> None:
    query = {"server": server, "tool": "climb", "arguments": {"to": 3}}
    async with asked(running, query, WANTED) as heard:
        for number in (1, 2, 3):
            reply = await heard.next_msg(timeout=20)
            assert (reply.headers or {})["mcp-kind"] == "progress"
            assert json.loads(reply.data) == {"progress": number, "total": 3, "message": f"step {number}"}
            stepped = await running.ask_http({"server": server, "tool": "step"})
            assert stepped.status == 200
        progress, answer = await replies(running, heard)
    assert progress == []
    assert answer["result"]["structuredContent"] == {"result": "climbed"}


@pytest.mark.parametrize("server", SERVERS)
async def test_steps_in_a_row_come_in_order_with_the_last_one_before_the_answer(running: Fleet, server: str) -> None:
    async with asked(running, {"server": server, "tool": "count", "arguments": {"to": 50}}, WANTED) as heard:
        progress, answer = await replies(running, heard)
    assert numbers(progress) == sorted(set(numbers(progress)))
    assert numbers(progress)[-1] == 50
    assert answer["result"]["structuredContent"] == {"result": "counted"}


async def test_a_callers_own_session_tells_of_progress_too(running: Fleet) -> None:
    query = {"server": "own-session", "tool": "count", "arguments": {"to": 3}}
    async with asked(running, query, WANTED) as heard:
        progress, answer = await replies(running, heard)
    assert numbers(progress)[-1] == 3
    assert answer["result"]["structuredContent"] == {"result": "counted"}


async def test_10_000_notifications_at_once_cost_a_handful_of_messages(running: Fleet) -> None:
    async with asked(running, {"server": "bursting", "tool": "burst", "arguments": {"times": 10_000}}, WANTED) as heard:
        progress, answer = await replies(running, heard)
    assert answer["result"] == {"asked": True}
    assert 1 <= len(progress) <= 20
    assert progress[-1] == bursting.WORD % 10_000


async def test_who_does_not_ask_gets_one_message_and_the_server_is_not_asked(running: Fleet) -> None:
    query = {"server": "bursting", "tool": "burst", "arguments": {"times": 3}}
    async with asked(running, query, {}) as heard:
        progress, answer = await replies(running, heard)
    assert (progress, answer["result"]) == ([], {"asked": False})
    over_http = await running.ask_http(query, headers=WANTED)
    assert over_http.json["result"] == {"asked": False}


async def test_progress_moves_no_deadline(running: Fleet) -> None:
    query = {"server": "stdio-modern", "tool": "climb", "arguments": {"to": 2}, "timeout_ms": 1000}
    async with asked(running, query, WANTED) as heard:
        with anyio.fail_after(20):
            progress, problem = await replies(running, heard)
    assert numbers(progress) == [1]
    assert problem["code"] == "timeout"


async def test_a_query_that_is_refused_has_no_progress(running: Fleet) -> None:
    async with asked(running, {"server": "bursting", "tool": "no-such-tool"}, WANTED) as heard:
        progress, problem = await replies(running, heard)
    assert progress == []
    assert problem["code"] == "tool_not_found"
