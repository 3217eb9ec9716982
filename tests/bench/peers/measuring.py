"""The rounds: all ways in turns, so that a slow minute of the machine is slow for each of them."""

import asyncio
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.additions import additions_s
from tests.bench.ways import Way
from tests.bench.wrk import Run, ask

LONGEST_WAIT_S: Final = 20.0
"""A way is not asked by callers who would wait longer than this for one answer."""
WARM_UP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Level:
    """What so many callers at once saw."""

    callers: int
    additions_s: float
    """How long ten million additions took meanwhile; the median."""
    runs: Mapping[str, Sequence[Run]]
    """By way, one of each round; those that were not asked are not in it."""

    def per_s(self, way: str) -> float:
        """The median of the rounds; 0 if it was not asked."""
        return statistics.median(run.per_s for run in self.runs[way]) if way in self.runs else 0.0


async def measure(ways: Sequence[Way], levels: Sequence[int], *, rounds: int, seconds: float) -> list[Level]:
    """Ask every way at every level, the fewest callers first."""
    measured: list[Level] = []
    for callers in sorted(levels):
        before = measured[-1] if measured else None
        asked = [way for way in ways if before is None or _is_fast_enough(before.per_s(way.name), callers)]
        measured.append(await _level(asked, callers, rounds=rounds, seconds=seconds))
    return measured


async def _level(ways: Sequence[Way], callers: int, *, rounds: int, seconds: float) -> Level:
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    additions = []
    for way in ways:
        await asyncio.to_thread(ask, way, callers, WARM_UP_S)
    for number in range(rounds):
        sys.stderr.write(f"{callers} callers, round {number + 1} of {rounds}\n")
        additions.append(additions_s())
        for way in ways:
            runs[way.name].append(await asyncio.to_thread(ask, way, callers, seconds))
    return Level(callers, statistics.median(additions), runs)


def _is_fast_enough(per_s: float, callers: int) -> bool:
    return per_s > 0 and callers / per_s <= LONGEST_WAIT_S
