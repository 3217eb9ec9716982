"""Ten times as much as the workers can take."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.chaos.fault import Fault, Scene
from tests.chaos.findings import Findings
from tests.chaos.ground import OF_EACH, SECOND, Ground, Plan
from tests.support.account import percentile
from tests.support.load_process import load_process
from tests.support.processes import rss_bytes

SLOTS = 3
"""Of each worker: with two of them and calls of 200 ms there is room for 30 a second."""
_MS = 200
_TIMEOUT_MS = 2000
_GOODPUT = 0.8
_GROWTH = 1.1
_MEASURED = 90
"""Queries with which the capacity is measured: about three seconds."""


async def _capacity(ground: Ground) -> Mapping[str, float]:
    """Return the answers a second when exactly as many ask as there are slots."""
    with tempfile.TemporaryDirectory(prefix="busbar-capacity-") as folder:
        async with load_process(
            Path(folder) / "record",
            server=SECOND,
            urls=ground.fleet.urls,
            concurrency=SLOTS * OF_EACH,
            total=_MEASURED,
            ms=_MS,
        ) as load:
            summary = await load.finished()
    return {"capacity/s": summary.answered / summary.elapsed_s}


async def _overload(scene: Scene) -> None:
    await scene.last(2)
    before = _memory(scene.ground)
    scene.begin()
    await scene.last(20, short=5)
    scene.end()
    scene.facts["memory ratio"] = _memory(scene.ground) / before


def _memory(ground: Ground) -> int:
    return sum(rss_bytes(pid) for pid in ground.pids().values())


def _figures(found: Findings) -> Mapping[str, float]:
    during = [query for query in found.queries if found.began_at <= query.sent.at < found.over_at]
    answered = sum(not query.has_failed for query in during)
    refusals = sorted(query.told.ms for query in during if query.told is not None and query.has_failed)
    return {
        "goodput/s": answered / (found.over_at - found.began_at),
        "p99 of refusals, ms": percentile(refusals, 99),
        "p99 of answers, ms": found.p99_ms(SECOND, found.began_at, found.over_at),
    }


def _judge(found: Findings) -> Iterable[str]:
    ratio = _figures(found)["goodput/s"] / found.facts["capacity/s"]
    if ratio < _GOODPUT / found.patience**0.5:
        yield f"goodput is {ratio:.0%} of the capacity"
    if other := found.total.refused.keys() - {"overloaded", "timeout"}:
        yield f"refused as {sorted(other)}"
    if "overloaded" not in found.total.refused:
        yield "nothing was refused: there was no overload"
    if found.facts["memory ratio"] > _GROWTH:
        yield f"memory grew by {found.facts['memory ratio'] - 1:.0%}"


FAULTS = (
    Fault(
        name="overload",
        what="slots for 30 queries a second, 300 offered",
        protection="`worker/slots.py`: a bounded line, `overloaded` at once when the wait would outlast the deadline",
        do=_overload,
        judge=_judge,
        figures=_figures,
        prepare=_capacity,
        plan=Plan(max_in_flight=SLOTS),
        servers=(SECOND,),
        rate=300,
        ms=_MS,
        timeout_ms=_TIMEOUT_MS,
        is_steady=False,
    ),
)
