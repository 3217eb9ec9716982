"""Releases of a server that are worse, and one that only looks so: `python -m tests.bench.releases`.

Two orchestrators get 60 queries a second. `busbar deploy` brings up one release after another that errs, is slow,
crashes, hangs or lacks a tool; each must go back by itself, with a reason, and callers see no errors but those that it
made. Then twenty releases with noisy times, as noisy as the one before them, must all come through. Prints Markdown;
status 1 if one did not do as it should.
"""

import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from tests.support.ground import Ground, ground
from tests.support.load_process import LoadProcess, load_process
from tests.support.processes import REPOSITORY, running
from tests.support.records import Told, read_ledger, read_record

SERVER: Final = "products"
RATE_PER_S: Final = 60
MS: Final = 30
TIMEOUT_MS: Final = 5_000
WORSE: Final[Mapping[str, Sequence[str]]] = {
    "errs in 5 % of calls": ["--fails", "20"],
    "answers `isError` to 5 % of calls": ["--errors", "20"],
    "three times slower": ["--ms", str(3 * MS)],
    "crashes at its start": ["--no-such-option"],
    "crashes in each call": ["--crashes"],
    "hangs": ["--hangs"],
    "lacks a tool": ["--lacks"],
}
STEP_S: Final = 10
NOISY: Final = ["--noisy", "--ms", "20"]
NOISY_RELEASES: Final = 20
NOISY_STEP_S: Final = 5
_SETTLED_S: Final = TIMEOUT_MS / 1000 + 1
"""After so long every call of a release has been answered."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the server."""

    ledger: Path
    """Its own: what is in it reached this release."""
    entry: Mapping[str, Any]
    """As below `servers:`, without a version."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of a release."""

    status: int
    """Of `busbar deploy`."""
    said: str
    took_s: float
    calls: int
    """That reached it."""
    errors: Counter[str]
    """That callers saw while it was there, by code; `isError` for results that say so."""


class Fleet:
    """A running system under load, whose server gets one release after another."""

    def __init__(self, one: Ground, folder: Path, load: LoadProcess) -> None:
        self._one = one
        self._folder = folder
        self._load = load
        self._releases = 0

    async def deploy(self, release: Release, *, step_s: float) -> Deployed:
        """Deploy a release, and return what became of it when it is over."""
        self._releases += 1
        version = f"1.{self._releases}.0"
        config = self._folder / "next.yaml"
        config.write_text(json.dumps({"servers": {SERVER: {**release.entry, "version": version}}}))
        config.chmod(0o600)
        options = ["--config", str(config), "--state-dir", str(self._one.state_dir), "--step-s", str(step_s)]
        began = time.time()
        command = [sys.executable, "-m", "services.cli", "deploy", SERVER, *options, "--ready-s", "60"]
        async with running(command) as process:
            status = await process.wait(timeout_s=300)
            said = process.stderr() or process.stdout()
        took_s = time.time() - began
        await anyio.sleep(_SETTLED_S)
        calls = sum(1 for _ in read_ledger(release.ledger))
        return Deployed(status, said.splitlines()[-1], took_s, calls, self._errors(since=began))

    def _errors(self, *, since: float) -> Counter[str]:
        told = [line for line in read_record(self._load.record) if isinstance(line, Told) and line.at >= since]
        codes = (line.code or ("isError" if line.is_error else None) for line in told)
        return Counter(code for code in codes if code is not None)


def release(folder: Path, name: str, *options: str) -> Release:
    """Return a release of the server whose processes have these options."""
    ledger = folder / re.sub(r"\W+", "-", name)
    command = [sys.executable, "-m", "tests.support.mcp_servers.changed", "--ledger", str(ledger), *options]
    return Release(ledger, {"command": command, "cwd": str(REPOSITORY), "timeout_s": 10})


def most_errors(name: str, calls: int) -> int:
    """How many errors a release has made that got so many calls."""
    if name in {"errs in 5 % of calls", "answers `isError` to 5 % of calls"}:
        return calls // 20
    return calls if name in {"hangs", "crashes in each call"} else 0


async def measure_worse(folder: Path) -> bool:
    """Deploy each worse release; whether all went back and nobody saw errors but theirs."""
    print("| the new release | goes back after | calls it got | errors it made at most | errors callers saw | reason |")
    print("|---|--:|--:|--:|---|---|", flush=True)
    is_right = True
    base = release(folder, "base", "--ms", str(MS))
    async with fleet_under_load(folder, base) as (fleet, driver):
        for name, options in WORSE.items():
            result = await fleet.deploy(release(folder, name, "--ms", str(MS), *options), step_s=STEP_S)
            most = most_errors(name, result.calls)
            seen = ", ".join(f"{code} {number}" for code, number in result.errors.items()) or "0"
            print(f"| {name} | {result.took_s:.1f} s | {result.calls} | {most} | {seen} | {result.said} |", flush=True)
            is_right &= result.status == 1 and result.errors.total() <= most
        summary = await driver.stopped()
    print(f"\n{summary.sent:,} sent, {summary.answered:,} answered, {summary.unanswered} never\n", flush=True)
    return is_right and not summary.unanswered


async def measure_noisy(folder: Path) -> bool:
    """Deploy one noisy release after another; whether all came through without an error."""
    base = release(folder, "base", *NOISY)
    through = 0
    async with fleet_under_load(folder, base) as (fleet, driver):
        for number in range(NOISY_RELEASES):
            result = await fleet.deploy(release(folder, f"noisy-{number}", *NOISY), step_s=NOISY_STEP_S)
            through += result.status == 0 and not result.errors
            if result.status:
                print(result.said, flush=True)
        summary = await driver.stopped()
    print(
        f"noisy releases: {through} of {NOISY_RELEASES} came through; {summary.sent:,} sent, {summary.answered:,} "
        f"answered, p50 {summary.p50_ms:.0f} ms, p99 {summary.p99_ms:.0f} ms"
    )
    return through == NOISY_RELEASES and summary.answered == summary.sent


@asynccontextmanager
async def fleet_under_load(folder: Path, base: Release) -> AsyncIterator[tuple[Fleet, LoadProcess]]:
    """Run a system with one release of the server, and ask both orchestrators all the time."""
    first = {SERVER: {**base.entry, "version": "1.0.0"}}
    async with ground(folder, "--orchestrators", "2", **first) as one:
        state = one.state
        async with load_process(
            folder / "record",
            server=SERVER,
            urls=state["orchestrators"],
            key=state["keys"]["query"],
            rate=RATE_PER_S,
            timeout_ms=TIMEOUT_MS,
        ) as driver:
            yield Fleet(one, folder, driver), driver


def main() -> int:
    is_right = True
    for measure in (measure_worse, measure_noisy):
        with tempfile.TemporaryDirectory(prefix="busbar-releases-") as folder:
            is_right &= anyio.run(measure, Path(folder))
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
