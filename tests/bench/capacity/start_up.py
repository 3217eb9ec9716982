"""How long `busbar up` with the two examples takes until it is ready, and what its processes take."""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from tests.bench.additions import additions_s
from tests.bench.capacity.figures import Figure
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY, RunningProcess, descendants, rss_bytes, running

STARTS = 5
READY_S = 3.0
QUIET_S = 0.30
"""Of the machine of the latest rows in docs/load-testing.md, when nothing else runs."""
_PORTS = tuple(f"--{name}-port=0" for name in ("orchestrator", "health", "admin", "nats", "redis"))


@dataclass(frozen=True, slots=True)
class _Start:
    ready_s: float
    cpu_s: float
    """What all processes together had spent by then, those that had ended not counted."""
    rss: Mapping[str, float]
    """In MiB, by process."""


async def measure() -> list[Figure]:
    """Start it five times, and once before so that everything is compiled and in the page cache."""
    await _start()
    starts, additions = [], []
    for _ in range(STARTS):
        additions.append(additions_s())
        starts.append(await _start())
    ready = sorted(start.ready_s for start in starts)
    scaled = [start.ready_s * QUIET_S / took for start, took in zip(starts, additions, strict=True)]
    names = sorted(starts[0].rss)
    return [
        Figure("ready after, best of five", ready[0], "s", below=READY_S),
        Figure("ready after, median of five", statistics.median(ready), "s", below=READY_S),
        Figure(f"the median where ten million additions take {QUIET_S:.2f} s", statistics.median(scaled), "s"),
        Figure("processor time until then", statistics.median(start.cpu_s for start in starts), "s"),
        Figure("ten million additions", statistics.median(additions), "s"),
        *(Figure(f"memory of {name}", statistics.median(one.rss[name] for one in starts), "MiB") for name in names),
        Figure("memory of all", statistics.median(sum(one.rss.values()) for one in starts), "MiB"),
    ]


async def _start() -> _Start:
    with tempfile.TemporaryDirectory(prefix="busbar-start-") as name:
        folder = Path(name)
        options = (f"--config={_config(folder)}", f"--state-dir={folder / 'up'}", *_PORTS)
        began = time.monotonic()
        async with running([str(Path(sys.executable).parent / "busbar"), "up", "--json", *options]) as up:
            while not up.stdout().endswith("\n"):
                assert up.returncode is None, up.stderr()
                await asyncio.sleep(0.01)
            ready_s = time.monotonic() - began
            told = _Start(ready_s, _cpu_s(up), _memory(up, json.loads(up.stdout())["pids"]))
            await up.terminate(timeout_s=30)
        return told


def _config(folder: Path) -> Path:
    """Write our configuration, with a free port for the server that has one."""
    config = yaml.safe_load((REPOSITORY / "busbar.yaml").read_text())
    port = str(free_port())
    for server in config["servers"].values():
        server["cwd"] = str(REPOSITORY)
        server["command"] = [port if word == "8002" else word for word in server["command"]]
        if "url" in server:
            server["url"] = server["url"].replace("8002", port)
    path = folder / "busbar.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


def _memory(up: RunningProcess, pids: Mapping[str, int]) -> dict[str, float]:
    """Return the resident memory of each process of ours in MiB, and of all others that there are."""
    named = {"supervisor": up.pid, **pids}
    others = [pid for pid in descendants(up.pid) if pid not in named.values()]
    sizes = {name: rss_bytes(pid) / 2**20 for name, pid in named.items()}
    return {**sizes, "guards and servers over stdio": sum(rss_bytes(pid) for pid in others) / 2**20}


def _cpu_s(up: RunningProcess) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in (up.pid, *descendants(up.pid))]
    return sum(spent.user + spent.system for spent in times)
