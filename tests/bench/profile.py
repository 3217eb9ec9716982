"""Where the time of a query goes, hit and miss: `python -m tests.bench.profile` (needs wrk, and py-spy on the path).

32 callers ask while py-spy samples the orchestrator and the worker. Each sample counts for the innermost of our own
layers that it is in, and what that layer has libraries do counts for it; the processor time per query, measured by the
kernel, is divided by these shares. Flame graphs of the same runs are written to docs/img.
"""

import asyncio
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench.capacity.hits import kept_answer
from tests.bench.components import SERVER
from tests.bench.ways import Way, direct_and_busbar
from tests.bench.wrk import ask, has_wrk

CALLERS: Final = 32
SECONDS: Final = 12
RATE_PER_S: Final = 500
IMAGES: Final = Path("docs/img")

_FRAME: Final = re.compile(r"\(([^()]+?)(?::\d+)?\)$")
_LOOP: Final = "event loop, sockets, kernel"
_OUTERMOST: Final = ("/__main__.py", "/http_process.py", "/process.py")
"""Where the event loop is run, in which all of it happens."""
_LAYERS: Final[Mapping[str, Sequence[str]]] = {
    "HTTP: request and answer": (
        *("services/runtime/plain_", "services/runtime/short_cycle", "services/runtime/gathered_writes", "uvicorn/"),
        *("services/orchestrator/direct_routes", "services/orchestrator/api", "services/orchestrator/intake"),
        *("services/orchestrator/writing", "services/orchestrator/hanging_up", "services/runtime/http"),
        "services/runtime/ids",
    ),
    "who asks, and their rights": ("services/runtime/auth/", "services/orchestrator/limits"),
    "reading the query": ("services/orchestrator/reading", "services/runtime/i_json", "bus_schemas/queries"),
    "cache": ("services/orchestrator/cache/", "services/orchestrator/recent"),
    "guards and counters": (
        *("services/orchestrator/breaker/", "services/orchestrator/admission", "services/orchestrator/tallies"),
        *("services/orchestrator/repeating", "services/orchestrator/retry_budget", "services/orchestrator/observer"),
        *("services/orchestrator/metrics", "services/orchestrator/flow_metrics", "services/runtime/histograms"),
        *("services/runtime/breakers", "services/worker/call_metrics", "services/worker/slots"),
    ),
    "calls, and their outcomes": (
        *("services/orchestrator/dispatch", "services/orchestrator/answers", "bus_schemas/"),
        *("services/worker/consumer", "services/worker/replies", "services/worker/returns", "services/runtime/clocks"),
    ),
    "routing": ("services/orchestrator/",),
    "bus": ("services/runtime/bus/", "nats/"),
    "HTTP client": ("services/worker/mcp/http", "services/worker/mcp/client"),
    "session with the MCP server": ("services/worker/mcp/",),
    "running a call": ("services/worker/",),
}
"""Our layers by their files; the first that fits counts."""


async def main() -> int:
    if not has_wrk() or shutil.which("py-spy") is None:
        sys.stderr.write("this needs wrk (apt-get install wrk) and py-spy (pip install py-spy) on the path\n")
        return 1
    async with direct_and_busbar() as (_, way):
        await _profile("miss", way, [name for name in way.components if name in ("orchestrator", "worker")])
    async with kept_answer() as (_, way):
        await _profile("hit", way, ["orchestrator"])
    return 0


async def _profile(kind: str, way: Way, parts: Sequence[str]) -> None:
    """Tell what a query costs the parts of a way, layer by layer."""
    await asyncio.to_thread(ask, way, CALLERS, 2)
    run = await asyncio.to_thread(ask, way, CALLERS, SECONDS / 2)  # what is sampled is slower
    asking = asyncio.create_task(asyncio.to_thread(ask, way, CALLERS, 2 * SECONDS))
    for part in parts:
        layers = await _sampled(way.components[part])
        image = IMAGES / f"flame-{kind}-{part}.svg"
        await _spy(way.components[part], "flamegraph", image)
        samples, cost_us = sum(layers.values()), run.cpu_us[part]
        print(f"\n{kind}, {part}: {cost_us:.0f} µs per query, {samples} samples ({image})\n")
        print("| layer | µs | |\n|---|--:|--:|")
        for layer, count in layers.most_common():
            print(f"| {layer} | {cost_us * count / samples:.1f} | {100 * count / samples:.0f} % |", flush=True)
    await asking
    others = {name: cost for name, cost in run.cpu_us.items() if name not in (*parts, SERVER)}
    print("".join(f"\n{kind}, {name}: {cost:.0f} µs per query" for name, cost in others.items()), flush=True)


async def _sampled(pid: int) -> Counter[str]:
    """Return how many samples of a process were in each layer."""
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder, "stacks")
        await _spy(pid, "raw", stacks)
        return _by_layer(stacks)


def _by_layer(stacks: Path) -> Counter[str]:
    layers: Counter[str] = Counter()
    for line in stacks.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not any("Thread._bootstrap" in frame for frame in frames):  # threads of ours only wait
            layers[_layer(frames)] += int(count)
    return layers


async def _spy(pid: int, form: str, path: Path) -> None:
    seconds = SECONDS // 3
    options = ("--pid", str(pid), "--rate", str(RATE_PER_S), "--duration", str(seconds), "--format", form)
    spying = await asyncio.create_subprocess_exec(
        "py-spy",
        "record",
        *options,
        "--output",
        str(path),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await spying.wait() == 0


def _layer(frames: Sequence[str]) -> str:
    """Return the layer of a stack, whose last frame is the innermost; a frame is `name (file:line)`."""
    for frame in reversed(frames):
        file = _FRAME.search(frame)
        if file is None or file[1].endswith(_OUTERMOST):
            continue
        for layer, files in _LAYERS.items():
            if file[1].startswith(tuple(files)):
                return layer
    return _LOOP


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
