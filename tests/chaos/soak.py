"""All rows in turn for a long time, and what that did to the processes that lived through it."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import anyio
import psutil

from tests.chaos.fault import Fault
from tests.chaos.ground import USUAL, Ground
from tests.chaos.running import Report, runner
from tests.support.processes import descendants, open_fds, rss_bytes

_GROWTH = 1.05
_MORE_FDS = 3
_IDLE_CPU = 0.02
"""Of a core, of each process."""
_QUIET_S = 5.0
_IDLE_S = 20.0
_SETTLE_S = 90.0
"""Longer than idle connections are kept."""


@dataclass(frozen=True, slots=True)
class State:
    """What the services hold while nothing is asked of them."""

    processes: int
    fds: dict[int, int]
    """By the id of each process."""
    rss: dict[int, int]
    """In bytes, by the id of each process."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a soak found."""

    figures: tuple[str, ...]
    wrong: tuple[str, ...]


async def soak(faults: Sequence[Fault], folder: Path, *, minutes: float, tell: Callable[[Report], None]) -> Soaked:
    """Run `faults` in turn for so long, and each at least once; the first turn is the warm-up.

    The eldest orchestrator and the eldest worker of each server live through all of it: their memory and descriptors
    are compared.
    """
    ends_at = time.monotonic() + minutes * 60
    wrong: list[str] = []
    async with runner(folder, is_short=False, patience=1.0) as rows:
        before: State | None = None
        for turn, fault in ((turn, fault) for turn in count() for fault in faults):
            if before is None and turn == 1:
                before = await _state(await rows.ground(USUAL))
            if before is not None and time.monotonic() >= ends_at:
                break
            report = await rows.run(fault)
            tell(report)
            wrong += [f"{fault.name}: {fault_wrong}" for fault_wrong in report.wrong]
        assert before is not None
        ground = await rows.ground(USUAL)
        after = await _state(ground)
        cpu = await _idle_cpu(ground)
    names = {pid: name for name, pid in ground.pids().items()}
    return Soaked(tuple(_figures(before, after, cpu, names)), (*wrong, *_judge(before, after, cpu, names)))


async def _state(ground: Ground) -> State:
    await anyio.sleep(_SETTLE_S)
    pids = ground.pids().values()
    return State(
        processes=len(descendants(os.getpid())),
        fds={pid: open_fds(pid) for pid in pids},
        rss={pid: rss_bytes(pid) for pid in pids},
    )


async def _idle_cpu(ground: Ground) -> dict[int, float]:
    """Return the share of a core that each process takes while nothing is asked."""
    await anyio.sleep(_QUIET_S)
    processes = [psutil.Process(pid) for pid in ground.pids().values()]
    began = {process.pid: _cpu_s(process) for process in processes}
    await anyio.sleep(_IDLE_S)
    return {process.pid: (_cpu_s(process) - began[process.pid]) / _IDLE_S for process in processes}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _figures(before: State, after: State, cpu: dict[int, float], names: dict[int, str]) -> list[str]:
    lines = [f"processes: {before.processes} → {after.processes}"]
    for pid in before.rss.keys() & after.rss.keys():
        megabytes = f"{before.rss[pid] / 2**20:.1f} → {after.rss[pid] / 2**20:.1f} MB"
        lines.append(f"{names[pid]}: {megabytes}, {before.fds[pid]} → {after.fds[pid]} descriptors")
    return [*lines, f"idle: at most {max(cpu.values()):.2%} of a core, {sum(cpu.values()):.2%} all together"]


def _judge(before: State, after: State, cpu: dict[int, float], names: dict[int, str]) -> list[str]:
    wrong = []
    if after.processes != before.processes:
        wrong.append(f"{before.processes} processes became {after.processes}")
    survivors = before.rss.keys() & after.rss.keys()
    if not survivors:
        wrong.append("no process lived through it")
    for pid in survivors:
        if after.rss[pid] > before.rss[pid] * _GROWTH:
            wrong.append(f"the memory of {names[pid]} grew by {after.rss[pid] / before.rss[pid] - 1:.1%}")
        if after.fds[pid] > before.fds[pid] + _MORE_FDS:
            wrong.append(f"{names[pid]} has {after.fds[pid] - before.fds[pid]} descriptors more")
    wrong += [f"{names[pid]} takes {share:.1%} of a core when idle" for pid, share in cpu.items() if share > _IDLE_CPU]
    return wrong
