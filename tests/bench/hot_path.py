"""What a query costs that reaches its server: `python -m tests.bench.hot_path` (needs wrk, a Debian package).

One orchestrator, one worker, a NATS server and an echo server of the official SDK over HTTP (2026-07-28), without a
store, so that nothing is kept; no two queries are the same. wrk asks the server directly, then through Busbar, in
turns; the median of three rounds is told, with the processor time of each process per query. A loop that only adds is
timed before each round: its time says how fast the machine was just then, and figures of different days can be compared
by it.
"""

import asyncio
import statistics
import sys
from collections.abc import Mapping

from tests.bench.additions import additions_s
from tests.bench.ways import direct_and_busbar
from tests.bench.wrk import Run, ask, has_wrk

CALLERS = (1, 32, 128)
ROUNDS = 3
SECONDS = 5
_WARM_UP_S = 1


async def main() -> int:
    if not has_wrk():
        sys.stderr.write("there is no wrk here: apt-get install wrk\n")
        return 1
    errors = 0
    async with direct_and_busbar() as both:
        for callers in CALLERS:
            runs: dict[str, list[Run]] = {way.name: [] for way in both}
            loops = []
            for _ in range(ROUNDS):
                loops.append(additions_s())
                for way in both:
                    await asyncio.to_thread(ask, way, callers, _WARM_UP_S)
                    runs[way.name].append(await asyncio.to_thread(ask, way, callers, SECONDS))
            errors += sum(run.errors for told in runs.values() for run in told)
            _tell(callers, runs, statistics.median(loops))
    return 1 if errors else 0


def _tell(callers: int, runs: Mapping[str, list[Run]], loop_s: float) -> None:
    print(f"\n{callers} callers (ten million additions: {loop_s:.2f} s)\n")
    print("| way | per second | p50 | p99 | errors | processor time per query |")
    print("|--|--:|--:|--:|--:|--|")
    for name, told in runs.items():
        middle = {kind: statistics.median(run.cpu_us[kind] for run in told) for kind in told[0].cpu_us}
        cost = ", ".join(f"{kind} {microseconds:.0f} µs" for kind, microseconds in middle.items())
        ours = statistics.median(run.gateway_us for run in told)
        print(
            f"| {name} | {statistics.median(run.per_s for run in told):,.0f} "
            f"| {statistics.median(run.p50_ms for run in told):.2f} ms "
            f"| {statistics.median(run.p99_ms for run in told):.2f} ms | {sum(run.errors for run in told)} "
            f"| {cost}{f'; Busbar {ours:.0f} µs' if ours else ''} |",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
