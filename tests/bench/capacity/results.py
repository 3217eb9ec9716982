"""Results of 1 kB and 50 kB, of servers over stdio and HTTP, in both eras: what a query costs."""

import asyncio
import json
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.capacity.figures import Figure
from tests.bench.hot_path import Run, Way, ask
from tests.support.fleet import fleet, python_server
from tests.support.processes import python_process
from tests.support.waiting import until

SIZES = (1_000, 50_000)
CALLERS = 32
ROUNDS = 3
SECONDS = 3


async def measure(wrk: str) -> list[Figure]:
    """Ask every server for every size, in turns."""
    async with _ways() as ways:
        runs: dict[str, list[Run]] = {way.name: [] for way in ways}
        for _ in range(ROUNDS):
            for way in ways:
                await asyncio.to_thread(ask, wrk, way, CALLERS, 1)
                runs[way.name].append(await asyncio.to_thread(ask, wrk, way, CALLERS, SECONDS))
    figures = []
    for name, told in runs.items():
        parts = {kind: statistics.median(run.cpu_us[kind] for run in told) for kind in told[0].cpu_us}
        spread = ", ".join(f"{kind} {microseconds:.0f}" for kind, microseconds in parts.items())
        per_s = statistics.median(run.per_s for run in told)
        figures.append(Figure(f"{name}: {per_s:,.0f} a second; {spread}", sum(parts.values()), "µs"))
    errors = sum(run.errors for told in runs.values() for run in told)
    return [*figures, Figure("errors", errors, most=0)]


@asynccontextmanager
async def _ways() -> AsyncIterator[list[Way]]:
    """Start everything; yield a way to each server for each size."""
    async with python_process("tests.bench.capacity.sdk_server") as server:
        await until(lambda: server.stdout().endswith("\n"))
        url = server.stdout().strip()
        reached = {"http": {"url": url}, "stdio": python_server("tests.bench.capacity.sdk_server", "--stdio")}
        config = {
            f"{transport}-{era}": {**how, "max_in_flight": 400, "era": era}
            for transport, how in reached.items()
            for era in ("modern", "legacy")
        }
        async with fleet(config) as running:
            shared = {"orchestrator": running.orchestrators[0].process.pid, "nats": running.nats.pid}
            workers = {worker.server: worker.process.pid for worker in running.workers}
            yield [
                Way(
                    f"{name}, {size // 1000} kB",
                    f"{running.urls[0]}/v1/query",
                    {"content-type": "application/json"},
                    json.dumps({"server": name, "tool": "answer", "arguments": {"bytes": size}}).encode(),
                    {**shared, "worker": workers[name]},
                )
                for name in config
                for size in SIZES
            ]
