"""Every word for why a server is down, by real processes to which it happens."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from bus_schemas import subjects
from bus_schemas.breakers import BreakerChanged, BreakerState
from tests.support.fleet import fleet, python_server
from tests.support.health import health_replicas
from tests.support.mcp_servers.raw_http import Request, raw_server
from tests.support.ports import free_port
from tests.support.replica import replica

pytestmark = pytest.mark.anyio

SOON_S = 60.0
"""The longest of it is ten seconds, on a machine of its own."""
RAW_STDIO = "tests.support.mcp_servers.raw_stdio"


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port at which connections are neither taken nor refused: the line of those who wait to be is full."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@asynccontextmanager
async def web_page() -> AsyncIterator[str]:
    """Something that speaks HTTP and not MCP; yields its URL."""

    async def answer(request: Request, _: asyncio.StreamReader) -> None:
        await request.answer(b"<html>Hello</html>", kind="text/html")

    async with raw_server(answer, discovers=False) as server:
        yield server.url


async def test_a_server_is_down_for_what_its_workers_ran_into_or_for_having_none() -> None:
    with deaf_port() as port:
        async with web_page() as page:
            servers: dict[str, Any] = {
                "times_out": {"url": f"http://127.0.0.1:{port}/mcp"},
                "refuses": {"url": f"http://127.0.0.1:{free_port()}/mcp"},
                "exits": {"command": [sys.executable, "-c", "raise SystemExit(3)"]},
                "babbles": {"url": page},
                "is_silent": python_server(RAW_STDIO, "--silent"),
                "works": python_server(RAW_STDIO),
                "has_none": python_server(RAW_STDIO),
            }
            async with fleet(servers, workers={"works": 1}) as running, health_replicas(running) as health:
                for server in servers.keys() - {"works", "has_none"}:
                    await running.start_worker(server)
                await health.until(
                    within_s=SOON_S,
                    times_out="Connection timeout",
                    refuses="Connection refused",
                    exits="Process exited",
                    babbles="Protocol error",
                    is_silent="Not responding",
                    works="connected",
                    has_none="No live worker",
                )
                assert [(status, report["status"]) for status, report in await health.reports()] == [
                    (503, "unhealthy")
                ] * 2


async def test_a_circuit_is_open_from_the_word_of_an_orchestrator_on_until_it_says_that_it_is_closed() -> None:
    async with (
        fleet({"flaky": python_server(RAW_STDIO)}, orchestrators=0) as running,
        replica(running.nats.url, "one"),
        health_replicas(running) as health,
    ):
        bus = await running.bus()

        async def say(state: BreakerState) -> None:
            word = BreakerChanged(
                server="flaky", version="0.0.0", state=state, epoch=int(time.time() * 1000), open_ms=300_000, by="one"
            )
            await bus.publish(subjects.breaker_event("flaky"), word.encode())

        await health.until(within_s=SOON_S, flaky="connected")
        await say(BreakerState.OPEN)
        await health.until(within_s=SOON_S, flaky="Circuit open")
        await say(BreakerState.CLOSED)
        await health.until(within_s=SOON_S, flaky="connected")
