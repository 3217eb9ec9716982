"""Two orchestrators and two workers against one of each, on the same cores."""

import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from tests.bench.capacity.figures import Figure
from tests.bench.hot_path import Way, ask
from tests.support.fleet import Fleet, fleet
from tests.support.processes import python_process
from tests.support.waiting import until

CALLERS = 32
ROUNDS = 4
SECONDS = 5
_QUERY = {"server": "lean", "tool": "answer", "arguments": {"ms": 0}}


@dataclass(frozen=True, slots=True)
class _Run:
    per_s: float
    cost_us: float
    p99_ms: float
    errors: int


async def measure(wrk: str) -> list[Figure]:
    """Ask both in turns, the two orchestrators with half of the callers each."""
    async with python_process("tests.bench.capacity.lean_server") as server:
        await until(lambda: server.stdout().endswith("\n"))
        config = {"lean": {"url": server.stdout().strip(), "max_in_flight": 400, "era": "modern"}}
        async with (
            fleet(config) as one,
            fleet(config, orchestrators=2, workers={"lean": 2}) as two,
        ):
            runs: dict[int, list[_Run]] = {1: [], 2: []}
            for _ in range(ROUNDS):
                for number, running in ((1, one), (2, two)):
                    await _ask(wrk, running, 1)
                    runs[number].append(await _ask(wrk, running, SECONDS))
    figures = []
    for number, told in runs.items():
        name = f"{number} + {number}"
        figures += [
            Figure(f"{name}: queries a second, 32 callers", statistics.median(run.per_s for run in told)),
            Figure(f"{name}: p99", statistics.median(run.p99_ms for run in told), "ms"),
            Figure(f"{name}: processor time per query", statistics.median(run.cost_us for run in told), "µs"),
        ]
    pairs = zip(runs[1], runs[2], strict=True)
    ratio = statistics.median(second.cost_us / first.cost_us for first, second in pairs)
    return [
        *figures,
        Figure("processor time per query, 2 + 2 over 1 + 1", ratio, most=1.05),
        Figure("errors", sum(run.errors for told in runs.values() for run in told), most=0),
    ]


async def _ask(wrk: str, running: Fleet, seconds: int) -> _Run:
    ours = [*(one.process for one in running.orchestrators), *(one.process for one in running.workers)]
    pids = [running.nats.pid, *(process.pid for process in ours)]
    body, callers = json.dumps(_QUERY).encode(), CALLERS // len(running.orchestrators)
    ways = [Way(url, f"{url}/v1/query", {"content-type": "application/json"}, body, {}) for url in running.urls]
    before = _cpu_s(pids)
    told = await asyncio.gather(*(asyncio.to_thread(ask, wrk, way, callers, seconds) for way in ways))
    queries = sum(run.per_s * seconds for run in told)
    return _Run(
        per_s=sum(run.per_s for run in told),
        cost_us=1e6 * (_cpu_s(pids) - before) / queries,
        p99_ms=max(run.p99_ms for run in told),
        errors=sum(run.errors for run in told),
    )


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
