"""Answers from one orchestrator's memory: how many a second, and how dear."""

import asyncio
import json
import re
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.additions import ADDITIONS, additions_s
from tests.bench.capacity.figures import Figure
from tests.bench.ways import JSON, Way
from tests.bench.wrk import Run, ask
from tests.support.fleet import OWN_KEY, Fleet, fleet, python_server
from tests.support.processes import rss_bytes
from tests.support.servers import valkey_server

CALLERS = 32
ROUNDS = 3
SECONDS = 5
LEAST_PER_S = 10_000
_QUERY = {"server": "kept", "tool": "answer", "arguments": {"bytes": 64, "ms": 0}}


@asynccontextmanager
async def kept_answer() -> AsyncIterator[tuple[Fleet, Way]]:
    """Start a server, and what is before it; yield it and the way to an answer that is kept, asked with a key.

    The query has the same bytes each time; the store confirms its answer once a second.
    """
    server = python_server(
        "tests.bench.capacity.lean_server",
        "--stdio",
        era="modern",
        tools={"answer": {"cache_ttl_s": 3600, "cache_scope": "public"}},
    )
    async with valkey_server() as store, fleet({"kept": server}, keys={}, store=store) as running:
        headers = {**JSON, "authorization": f"Bearer {running.keys[OWN_KEY]}"}
        parts = {"orchestrator": running.orchestrators[0].process.pid}
        await running.ask_http(_QUERY)
        yield running, Way("hits", f"{running.urls[0]}/v1/query", headers, json.dumps(_QUERY).encode(), parts)


async def measure() -> list[Figure]:
    """Ask the same question again and again."""
    async with kept_answer() as (running, way):
        await asyncio.to_thread(ask, way, CALLERS, 1)
        before = await _counted(running)
        runs, additions = [], []
        for _ in range(ROUNDS):
            before_s = additions_s()
            runs.append(await asyncio.to_thread(ask, way, CALLERS, SECONDS))
            additions.append((before_s + additions_s()) / 2)
            await _check_hit(running)
        hits, look_ups = (after - then for after, then in zip(await _counted(running), before, strict=True))
        rss = rss_bytes(way.components["orchestrator"]) / 2**20
    return _figures(runs, additions, hits=hits, look_ups=look_ups, rss=rss)


def _figures(runs: list[Run], additions: list[float], *, hits: float, look_ups: float, rss: float) -> list[Figure]:
    asked = sum(run.sent for run in runs)
    cost_us = statistics.median(run.cpu_us["orchestrator"] for run in runs)
    addition_us = 1e6 * statistics.median(additions) / ADDITIONS
    return [
        Figure("hits a second, 32 callers", statistics.median(run.per_s for run in runs), least=LEAST_PER_S),
        Figure("p50", statistics.median(run.p50_ms for run in runs), "ms"),
        Figure("p99", statistics.median(run.p99_ms for run in runs), "ms", below=10),
        Figure("errors", sum(run.errors for run in runs), most=0),
        Figure("hits counted of queries asked", 100 * hits / asked, "%", least=99),
        Figure("look-ups in the store a second", look_ups / (ROUNDS * SECONDS)),
        Figure("processor time of the orchestrator per hit", cost_us, "µs"),
        Figure("the same in additions", cost_us / addition_us),
        Figure("ten million additions", statistics.median(additions), "s"),
        Figure("memory of the orchestrator", rss, "MiB"),
    ]


async def _check_hit(running: Fleet) -> None:
    told = (await running.ask_http(_QUERY)).json
    assert told["cache"] == "hit", told


async def _counted(running: Fleet) -> tuple[float, float]:
    """Return the hits, and the look-ups in the store, that the orchestrator has counted."""
    told = (await running.get("/metrics")).body.decode()
    return _value(told, "mcp_cache_hits_total"), _value(told, "mcp_cache_lookup_seconds_count")


def _value(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    assert found is not None, name
    return float(found[1])
