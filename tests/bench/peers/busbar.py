"""The ways that need no peer: directly to the server, and through Busbar, before that server over HTTP and stdio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.components import SERVER, Components
from tests.bench.peers.peer import STDIO_COMMAND, Upstream
from tests.bench.peers.program import stdio_server
from tests.bench.peers.session import VERSION, session_way
from tests.bench.ways import MAX_IN_FLIGHT, Way, components, direct, over_http, query
from tests.support.fleet import Fleet, fleet
from tests.support.processes import REPOSITORY


@asynccontextmanager
async def opened(upstream: Upstream) -> AsyncIterator[list[Way]]:
    """Run one orchestrator and a worker before each form of the server; what is asked is kept nowhere."""
    over_stdio = {"command": list(STDIO_COMMAND), "cwd": str(REPOSITORY), "max_in_flight": MAX_IN_FLIGHT}
    # Peers shake hands over stdio; by itself a worker speaks 2026-07-28, which costs that server half as much again.
    config = {"echo": over_http(upstream.url), "child": over_stdio, "greeted": {**over_stdio, "era": "legacy"}}
    async with fleet(config) as running:
        parts = components(running, server=upstream.pid)
        yield [
            direct(upstream.url, upstream.pid),
            await session_way(f"directly, {VERSION}", upstream.url, {SERVER: upstream.pid}),
            query(running, "echo", parts, "Busbar, /v1/query"),
            await session_way("Busbar, /mcp", f"{running.urls[0]}/mcp", parts, tool="echo__echo"),
            query(running, "child", _with_child(running, 1), "Busbar, /v1/query (stdio)"),
            query(running, "greeted", _with_child(running, 2), f"Busbar, /v1/query (stdio, {VERSION})"),
        ]


def _with_child(running: Fleet, worker: int) -> Components:
    return components(running, server=stdio_server(running.workers[worker].process), worker=worker)
