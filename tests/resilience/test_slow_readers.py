"""Who reads slowly, or not at all, waits alone: nobody else's answer is late or lost, and memory stays bounded."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import Answered, Fleet, fleet, python_server
from tests.support.mcp_servers.kept import TOOL
from tests.support.mcp_servers.raw_http import Request, raw_server
from tests.support.processes import rss_bytes
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

LARGE_BYTES = 15_000_000
BUS_BYTES = 7_000_000
SMALL = b'{"content":[]}'
SLOW_CALLERS = 8
TIMEOUT_MS = 20_000


def filled(size: int) -> bytes:
    return b'{"content":[],"x":"' + b"x" * (size - 21) + b'"}'


@asynccontextmanager
async def kept_fleet(folder: Path, **more: Any) -> AsyncIterator[Fleet]:
    for name, result in {"large": filled(LARGE_BYTES), "bus": filled(BUS_BYTES), "small": SMALL}.items():
        (folder / name).write_bytes(result)
    server = python_server("tests.support.mcp_servers.kept", str(folder), max_in_flight=64)
    async with fleet({"kept": server}, **more) as running:
        yield running


def query(name: str, *, timeout_ms: int = TIMEOUT_MS) -> dict[str, Any]:
    return {"server": "kept", "tool": TOOL, "arguments": {"name": name}, "timeout_ms": timeout_ms}


async def assert_others_are_answered(running: Fleet, *, orchestrator: int = 0) -> None:
    """Fifty small queries and a large one, each by its deadline."""
    with anyio.fail_after(30):
        for _ in range(50):
            small = await running.ask_http(query("small", timeout_ms=2000), orchestrator=orchestrator)
            assert (small.status, small.raw_result) == (200, SMALL)
        large = await running.ask_http(query("large"), orchestrator=orchestrator)
    assert_is_large(large.status, large.body)


def assert_is_large(status: int, body: bytes) -> None:
    # No comparison that pytest would explain: it takes minutes for megabytes.
    is_whole = body.partition(b'"result":')[2][:-1] == filled(LARGE_BYTES)
    assert (status, is_whole) == (200, True)


async def held_bytes(running: Fleet) -> float:
    """What the orchestrator says it holds."""
    families = text_string_to_metric_families((await running.get("/metrics")).body.decode())
    [held] = [sample.value for family in families for sample in family.samples if sample.name == "mcp_held_bytes"]
    return float(held)


async def unread_answer(running: Fleet, stack: AsyncExitStack) -> httpx.Response:
    """The beginning of a large answer over a connection of its own; the rest is left unread."""
    http = running.orchestrators[0].http
    return await stack.enter_async_context(http.stream("POST", "/v1/query", json=query("large")))


async def test_callers_that_do_not_read_their_answers_hold_nobody_up(tmp_path: Path) -> None:
    async with kept_fleet(tmp_path) as running, AsyncExitStack() as stack:
        await assert_others_are_answered(running)
        pid = running.orchestrators[0].process.pid
        before = rss_bytes(pid)
        unread = [await unread_answer(running, stack) for _ in range(SLOW_CALLERS)]

        await assert_others_are_answered(running)

        # An unread answer is there once; a whole one may still be in work.
        assert SLOW_CALLERS * LARGE_BYTES <= await held_bytes(running) < (SLOW_CALLERS + 1) * LARGE_BYTES
        assert rss_bytes(pid) - before < (SLOW_CALLERS + 4) * LARGE_BYTES
        with anyio.fail_after(30):
            assert_is_large(unread[0].status_code, await unread[0].aread())


async def test_what_callers_did_not_read_is_forgotten_when_they_go(tmp_path: Path) -> None:
    async with kept_fleet(tmp_path) as running:
        pid = running.orchestrators[0].process.pid
        await assert_others_are_answered(running)
        before = rss_bytes(pid)
        for _ in range(3):
            async with AsyncExitStack() as stack:
                for _ in range(SLOW_CALLERS):
                    await unread_answer(running, stack)
        await assert_others_are_answered(running)
        # Not even two of the two dozen; with the allocator's own bounds it was three to seven.
        await until(lambda: rss_bytes(pid) - before < 2 * LARGE_BYTES)


async def test_a_caller_that_never_reads_is_cut_off_and_its_memory_comes_back(tmp_path: Path) -> None:
    async with (
        kept_fleet(tmp_path, env={"BUSBAR_SEND_TIMEOUT_S": "1"}) as running,
        AsyncExitStack() as stack,
    ):
        unread = [await unread_answer(running, stack) for _ in range(2)]
        assert await held_bytes(running) > 2 * LARGE_BYTES
        with anyio.fail_after(20):
            while await held_bytes(running) > 0:
                await anyio.sleep(0.05)
        for answer in unread:
            with anyio.fail_after(10), pytest.raises(httpx.HTTPError):
                await answer.aread()
        await assert_others_are_answered(running)


async def test_while_too_much_is_unread_queries_are_refused_and_then_answered_again(tmp_path: Path) -> None:
    async with kept_fleet(tmp_path, env={"BUSBAR_MAX_HELD_BYTES": str(LARGE_BYTES)}) as running:
        async with AsyncExitStack() as stack:
            await unread_answer(running, stack)
            for edge in ("http", "bus"):
                refused = await running.asking(edge)(query("small"))
                assert (refused.status, refused.json["code"], refused.json["executed"]) == (503, "overloaded", "no")
                assert refused.headers["retry-after"] == "1"
            assert (await running.get("/readyz")).status == 200
        with anyio.fail_after(20):
            while await held_bytes(running) > 0:
                await anyio.sleep(0.05)
        await assert_others_are_answered(running)


async def test_a_caller_that_does_not_read_keeps_an_orchestrator_no_longer_than_its_drain(tmp_path: Path) -> None:
    async with (
        kept_fleet(tmp_path, env={"BUSBAR_DRAIN_TIMEOUT_S": "1"}) as running,
        AsyncExitStack() as stack,
    ):
        unread = await unread_answer(running, stack)
        leaving = running.orchestrators[0].process
        leaving.signal(signal.SIGTERM)
        assert await leaving.wait(timeout_s=20) == 0
        with anyio.fail_after(10), pytest.raises(httpx.HTTPError):
            await unread.aread()


@asynccontextmanager
async def silent_bus_caller(running: Fleet) -> AsyncIterator[asyncio.StreamWriter]:
    """A NATS client that reads nothing of what comes for it; what it asks is answered to the subject `unread`."""
    url = httpx.URL(running.nats.url)
    _, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
    try:
        who = json.dumps({"user": url.username, "pass": url.password, "verbose": False, "headers": True})
        writer.write(b"CONNECT %s\r\nSUB unread 1\r\n" % who.encode())
        await writer.drain()
        yield writer
    finally:
        writer.transport.abort()


async def test_a_bus_caller_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    async with kept_fleet(tmp_path) as running, silent_bus_caller(running) as silent:
        body = json.dumps(query("bus")).encode()
        for _ in range(SLOW_CALLERS):
            silent.write(b"PUB mcp.v1.query unread %d\r\n%s\r\n" % (len(body), body))
        await silent.drain()
        await assert_others_are_answered(running)
        with anyio.fail_after(30):
            for _ in range(SLOW_CALLERS):
                answer = await running.ask_bus(query("bus"))
                is_whole = answer.raw_result == filled(BUS_BYTES)
                assert (answer.status, is_whole) == (200, True)
        assert "bus disconnected" not in running.logs()


class GatedServer:
    """Answers calls of `large` when the gate is open, anything else at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = 0

    async def handle(self, request: Request, _: asyncio.StreamReader) -> None:
        match request.json:
            case {"method": "tools/list"}:
                await request.result(b'{"tools":[{"name":"kept","inputSchema":{"type":"object"}}]}')
            case {"method": "tools/call", "params": {"arguments": {"name": "large"}}}:
                self.waiting += 1
                await self.gate.wait()
                await request.result(filled(LARGE_BYTES))
            case _:
                await request.result(SMALL)


async def ask_large(running: Fleet, answers: list[Answered]) -> None:
    answers.append(await running.ask_http(query("large")))


async def test_an_orchestrator_that_is_frozen_harms_no_other_and_gets_its_results_afterwards() -> None:
    gated = GatedServer()
    async with raw_server(gated.handle) as server, fleet({"kept": {"url": server.url}}, orchestrators=2) as running:
        answers: list[Answered] = []
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask_large, running, answers)
            await until(lambda: gated.waiting == 3)
            running.orchestrators[0].process.pause()
            gated.gate.set()
            await assert_others_are_answered(running, orchestrator=1)
            assert not answers
            running.orchestrators[0].process.resume()
        for answer in answers:
            assert_is_large(answer.status, answer.body)


async def test_an_orchestrator_that_is_killed_before_its_large_results_come_harms_no_other() -> None:
    gated = GatedServer()
    async with raw_server(gated.handle) as server, fleet({"kept": {"url": server.url}}, orchestrators=2) as running:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask_in_vain, running)
            await until(lambda: gated.waiting == 3)
            await running.orchestrators.pop(0).process.kill()
            gated.gate.set()
        await assert_others_are_answered(running)
        # What nobody takes keeps a worker that leaves until its deadline at the longest.
        worker = running.workers[0].process
        worker.signal(signal.SIGTERM)
        assert await worker.wait(timeout_s=20) == 0


async def ask_in_vain(running: Fleet) -> None:
    with pytest.raises(httpx.HTTPError):
        await running.ask_http(query("large", timeout_ms=5000))
