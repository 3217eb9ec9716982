"""A deploy under load: `python -m tests.bench.rollout`, 200 queries a second on two orchestrators.

`busbar deploy` brings up a new version of a server on port 8003 beside the one on 8002, shifts 10, 50 and 100 % of the
queries to it, and stops the old one. The ledger says which version each call was sent to, and that none was lost or
run twice. What it saw is drawn in docs/img/rollout.png.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import anyio
from matplotlib.figure import Figure

from tests.support.account import Account, read_account
from tests.support.ground import Ground, ground, stdio
from tests.support.load_process import load_process
from tests.support.processes import REPOSITORY, running
from tests.support.records import LedgerLine, read_ledger

SERVER: Final = "product_metadata_mcp"
RATE_PER_S: Final = 200
STEPS: Final = (10, 50, 100)
STEP_S: Final = 20
BEFORE_S: Final = 5.0
"""How long the old version has everything, and the new one in the end."""
TIMEOUT_MS: Final = 10_000
MARGIN_S: Final = 1.0
"""Around each change of the weights, which reaches two orchestrators one after the other."""
PICTURE: Final = REPOSITORY / "docs" / "img" / "rollout.png"


@dataclass(frozen=True, slots=True)
class Change:
    """The weights changed."""

    at: float
    """Seconds since 1970."""
    weight: int
    """Of the new version, in percent."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was dispatched while the new version had `weight` percent."""

    weight: int
    calls: int
    new: int

    @property
    def share(self) -> float:
        """Of the new version, in percent."""
        return 100 * self.new / self.calls


def served_at(folder: Path, *, version: str, port: int) -> dict[str, Any]:
    """A version of the server that is started on `port`, as below `servers:`."""
    one = stdio(folder, version=version, url=f"http://127.0.0.1:{port}/mcp")
    return {**one, "command": [*one["command"], "--port", str(port)]}


async def follow(one: Ground, changes: list[Change]) -> None:
    """Note every change of the weights, for ever."""
    while True:
        answer = await one.admin.get("/v1/rollouts")
        rollouts = answer.json()["rollouts"] if answer.is_success else []
        weight = rollouts[0]["weight"] if rollouts else changes[-1].weight
        if weight != changes[-1].weight:
            changes.append(Change(time.time(), weight))
        await anyio.sleep(0.1)


async def deploy(one: Ground, folder: Path) -> str:
    """Deploy version 1.1.0; return what the command says."""
    config = folder / "next.yaml"
    config.write_text(json.dumps({"servers": {SERVER: served_at(folder, version="1.1.0", port=8003)}}))
    config.chmod(0o600)
    options = ("--config", str(config), "--state-dir", str(one.state_dir))
    steps = ("--steps", ",".join(map(str, STEPS)), "--step-s", str(STEP_S))
    async with running([sys.executable, "-m", "services.cli", "deploy", SERVER, *options, *steps]) as command:
        status = await command.wait(timeout_s=300)
        if status != 0:
            raise AssertionError(command.stdout() + command.stderr())
        return command.stdout()


def steps_of(changes: Sequence[Change], starts: Sequence[LedgerLine], new_pid: int, until: float) -> list[Step]:
    """Return what was dispatched between the changes."""
    steps = []
    for change, following in pairwise([*changes, Change(until, -1)]):
        within = [line for line in starts if change.at + MARGIN_S < line.at < following.at - MARGIN_S]
        steps.append(Step(change.weight, len(within), sum(line.pid == new_pid for line in within)))
    return steps


def draw(changes: Sequence[Change], starts: Sequence[LedgerLine], new_pid: int) -> None:
    """Draw how many calls each version got, second by second."""
    began = min(line.at for line in starts)
    per_second = Counter((int(line.at - began), line.pid == new_pid) for line in starts)
    seconds = range(int(max(line.at for line in starts) - began))
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.add_subplot(
        title=f"{SERVER}: 1.0.0 → 1.1.0 at {RATE_PER_S} queries a second",
        xlabel="seconds",
        ylabel="calls dispatched a second",
    )
    old, new = ([per_second[second, is_new] for second in seconds] for is_new in (False, True))
    axes.stackplot(list(seconds), old, new, labels=["1.0.0 (port 8002)", "1.1.0 (port 8003)"], step="post")
    for change in changes[1:]:
        axes.axvline(change.at - began, color="black", linewidth=0.8, linestyle="--")
        axes.annotate(f" {change.weight} %", (change.at - began, 0.94), xycoords=("data", "axes fraction"))
    axes.legend(loc="lower left")
    figure.savefig(PICTURE, dpi=110)


def tell(account: Account, steps: Sequence[Step]) -> bool:
    """Print it; whether nothing was lost, and the split was right."""
    refused = ", ".join(f"{code} {number}" for code, number in account.refused.items()) or "0"
    print(
        f"{account.sent:,} sent, {account.answered:,} answered, refused {refused}, lost {len(account.lost)}, "
        f"run twice {len(account.repeated)}; p50 {account.p50_ms:.1f} ms, p99 {account.p99_ms:.1f} ms, "
        f"longest gap {account.longest_gap_s:.2f} s"
    )
    for step in steps:
        print(f"at {step.weight} %: {step.new:,} of {step.calls:,} calls to the new version, {step.share:.2f} %")
    is_exact = all(abs(step.share - step.weight) <= 1 for step in steps)
    return is_exact and not (account.refused or account.lost or account.repeated)


async def measure(folder: Path) -> bool:
    """Run it once; whether all held."""
    changes = [Change(time.time(), 0)]
    record, first = folder / "record", served_at(folder, version="1.0.0", port=8002)
    async with ground(folder, "--orchestrators", "2", "--workers", "2", **{SERVER: first}) as one:
        state = one.state
        urls, key = state["orchestrators"], state["keys"]["query"]
        load = load_process(record, server=SERVER, urls=urls, key=key, rate=RATE_PER_S, ms=20, timeout_ms=TIMEOUT_MS)
        async with load as driver, anyio.create_task_group() as watching:
            await driver.told(1)
            changes[0] = Change(time.time(), 0)
            watching.start_soon(follow, one, changes)
            await anyio.sleep(BEFORE_S)
            old_pid = one.system.pids[f"server-{SERVER}"]
            print(await deploy(one, folder))
            await one.wait_gone(f"server-{SERVER}", f"worker-{SERVER}-1", f"worker-{SERVER}-2")
            await anyio.sleep(BEFORE_S)
            until = time.time()
            await driver.stopped()
            watching.cancel_scope.cancel()
    starts = [line for line in read_ledger(folder / "ledger") if line.event == "start"]
    (new_pid,) = {line.pid for line in starts} - {old_pid}
    draw(changes, starts, new_pid)
    account = read_account(folder / "ledger", record, TIMEOUT_MS / 1000)
    return tell(account, steps_of(changes, starts, new_pid, until))


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="busbar-rollout-") as folder:
        return 0 if anyio.run(measure, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
