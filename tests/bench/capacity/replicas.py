"""Two orchestrators and two workers against one of each, on the same cores.

What a query costs depends on how many others come with it: writes are joined. So it is compared at equally many callers
of each orchestrator; with as many in all it is told, too.
"""

import asyncio
import statistics
from dataclasses import dataclass

from tests.bench.capacity.figures import Figure
from tests.bench.capacity.lean import NAME, lean_server, lean_way
from tests.bench.components import Components, spent_s
from tests.bench.ways import over_http
from tests.bench.wrk import ask
from tests.support.fleet import Fleet, fleet

CALLERS = 32
ROUNDS = 3
SECONDS = 5
_ONE = "1 + 1, 32 callers"
_SAME_EACH = "2 + 2, 64 callers"
_SAME_IN_ALL = "2 + 2, 32 callers"


@dataclass(frozen=True, slots=True)
class _Run:
    per_s: float
    cost_us: float
    p99_ms: float
    errors: int


async def measure() -> list[Figure]:
    """Ask both in turns, the two orchestrators with half of the callers each."""
    async with lean_server() as (url, _):
        config = {NAME: over_http(url)}
        async with (
            fleet(config) as one,
            fleet(config, orchestrators=2, workers={NAME: 2}) as two,
        ):
            grounds = {_ONE: (one, CALLERS), _SAME_EACH: (two, 2 * CALLERS), _SAME_IN_ALL: (two, CALLERS)}
            runs: dict[str, list[_Run]] = {name: [] for name in grounds}
            for _ in range(ROUNDS):
                for name, (running, callers) in grounds.items():
                    await _ask(running, callers, 1)
                    runs[name].append(await _ask(running, callers, SECONDS))
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


async def _ask(running: Fleet, callers: int, seconds: int) -> _Run:
    each = callers // len(running.orchestrators)
    ways = [lean_way(running, {}, orchestrator=index) for index in range(len(running.orchestrators))]
    parts = _parts(running)
    before = sum(spent_s(parts).values())
    told = await asyncio.gather(*(asyncio.to_thread(ask, way, each, seconds) for way in ways))
    spent = sum(spent_s(parts).values()) - before
    return _Run(
        per_s=sum(run.per_s for run in told),
        cost_us=1e6 * spent / sum(run.sent for run in told),
        p99_ms=max(run.p99_ms for run in told),
        errors=sum(run.errors for run in told),
    )


def _parts(running: Fleet) -> Components:
    """Return what all ways share: which worker a query goes to is not for its caller to say."""
    orchestrators = {f"orchestrator {number}": one.process.pid for number, one in enumerate(running.orchestrators, 1)}
    workers = {f"worker {number}": one.process.pid for number, one in enumerate(running.workers, 1)}
    return {"NATS": running.nats.pid, **orchestrators, **workers}
