"""Two orchestrators and two workers against one of each, on the same cores.

What a query costs depends on how many others come with it: writes are joined. So it is compared at equally many callers
of each orchestrator; with as many in all it is told, too.
"""

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
ROUNDS = 3
SECONDS = 5
_QUERY = {"server": "lean", "tool": "answer", "arguments": {"ms": 0}}
_ONE = "1 + 1, 32 callers"
_SAME_EACH = "2 + 2, 64 callers"
_SAME_IN_ALL = "2 + 2, 32 callers"


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
            grounds = {_ONE: (one, CALLERS), _SAME_EACH: (two, 2 * CALLERS), _SAME_IN_ALL: (two, CALLERS)}
            runs: dict[str, list[_Run]] = {name: [] for name in grounds}
            for _ in range(ROUNDS):
                for name, (running, callers) in grounds.items():
                    await _ask(wrk, running, callers, 1)
                    runs[name].append(await _ask(wrk, running, callers, SECONDS))
    figures = []
    for name, told in runs.items():
        figures += [
            Figure(f"{name}: queries a second", statistics.median(run.per_s for run in told)),
            Figure(f"{name}: p99", statistics.median(run.p99_ms for run in told), "ms"),
            Figure(f"{name}: processor time per query", statistics.median(run.cost_us for run in told), "µs"),
        ]
    pairs = zip(runs[_ONE], runs[_SAME_EACH], strict=True)
    ratio = statistics.median(two.cost_us / one.cost_us for one, two in pairs)
    return [
        *figures,
        Figure("processor time per query, 2 + 2 over 1 + 1, as many callers of each", ratio, most=1.05),
        Figure("errors", sum(run.errors for told in runs.values() for run in told), most=0),
    ]


async def _ask(wrk: str, running: Fleet, callers: int, seconds: int) -> _Run:
    ours = [*(one.process for one in running.orchestrators), *(one.process for one in running.workers)]
    pids = [running.nats.pid, *(process.pid for process in ours)]
    body, each = json.dumps(_QUERY).encode(), callers // len(running.orchestrators)
    ways = [Way(url, f"{url}/v1/query", {"content-type": "application/json"}, body, {}) for url in running.urls]
    before = _cpu_s(pids)
    told = await asyncio.gather(*(asyncio.to_thread(ask, wrk, way, each, seconds) for way in ways))
    queries = sum(run.per_s * seconds for run in told)
    return _Run(
        per_s=sum(run.per_s for run in told),
        cost_us=1e6 * (_cpu_s(pids) - before) / queries,
        p99_ms=max(run.p99_ms for run in told),
        errors=sum(run.errors for run in told),
    )


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
