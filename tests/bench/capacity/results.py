"""Results of 1 kB and 50 kB, of servers over stdio and HTTP, in both eras: what a query costs."""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.capacity.figures import Figure
from tests.bench.components import child
from tests.bench.ways import MAX_IN_FLIGHT, REQUEST_ID, Way, components, http_server, query
from tests.bench.wrk import Run, ask
from tests.support.fleet import Fleet, fleet
from tests.support.processes import REPOSITORY

SIZES = (1_000, 50_000)
CALLERS = 32
ROUNDS = 3
SECONDS = 3
_MODULE = "tests.bench.capacity.sdk_server"
_STDIO_COMMAND = [sys.executable, "-m", _MODULE, "--stdio"]


async def measure() -> list[Figure]:
    """Ask every server for every size, in turns."""
    async with _ways() as ways:
        runs: dict[str, list[Run]] = {way.name: [] for way in ways}
        for _ in range(ROUNDS):
            for way in ways:
                await asyncio.to_thread(ask, way, CALLERS, 1)
                runs[way.name].append(await asyncio.to_thread(ask, way, CALLERS, SECONDS))
    figures = []
    for name, told in runs.items():
        parts = {kind: statistics.median(run.cpu_us[kind] for run in told) for kind in told[0].cpu_us}
        spread = ", ".join(f"{kind} {microseconds:.0f}" for kind, microseconds in parts.items())
        per_s = statistics.median(run.per_s for run in told)
        ours = statistics.median(run.gateway_us for run in told)
        figures.append(Figure(f"{name}: {per_s:,.0f} a second; {spread}", ours, "µs"))
    errors = sum(run.errors for told in runs.values() for run in told)
    return [*figures, Figure("errors", errors, most=0)]


@asynccontextmanager
async def _ways() -> AsyncIterator[list[Way]]:
    """Start everything; yield a way to each server for each size."""
    async with http_server(_MODULE) as (url, server):
        over_stdio = {"command": _STDIO_COMMAND, "cwd": str(REPOSITORY)}
        config = {
            f"{transport}-{era}": {**how, "max_in_flight": MAX_IN_FLIGHT, "era": era}
            for transport, how in (("http", {"url": url}), ("stdio", over_stdio))
            for era in ("modern", "legacy")
        }
        async with fleet(config) as running:
            yield [_way(running, worker, size, server.pid) for worker in range(len(config)) for size in SIZES]


def _way(running: Fleet, worker: int, size: int, http: int) -> Way:
    """Return the way through the fleet's worker of this index; `http` is the process of the server over HTTP."""
    name, process = running.workers[worker].server, running.workers[worker].process
    server = http if name.startswith("http") else child(process.pid, _STDIO_COMMAND)
    parts = components(running, server=server, worker=worker)
    arguments = {"bytes": size, "number": REQUEST_ID}
    title = f"{name}, {size // 1000} kB"
    return query(running, name, parts, title, tool="answer", arguments=arguments, expected="x" * size)
