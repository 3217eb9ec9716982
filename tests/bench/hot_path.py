"""What a query costs that reaches its server: `python -m tests.bench.hot_path` (needs wrk, a Debian package).

One orchestrator, one worker, a NATS server and an echo server of the official SDK over HTTP (2026-07-28), without a
store, so that nothing is kept. wrk asks the server directly, then through Busbar, in turns; the median of three rounds
is told, with the processor time of each process per query. A loop that only adds is timed before each round: its time
says how fast the machine was just then, and figures of different days can be compared by it.
"""

import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.fleet import Fleet, fleet
from tests.support.processes import RunningProcess, python_process
from tests.support.waiting import until

CALLERS = (1, 32, 128)
ROUNDS = 3
SECONDS = 5
_WARM_UP_S = 1
LOOP_ADDITIONS = 10_000_000
_ARGUMENTS = {"text": "x" * 64}
_DIRECT = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "echo",
}
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the server, and whose processor time it takes."""

    name: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    pids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """What wrk saw, and what it cost."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: Mapping[str, float]
    """Processor time per query of each process, in microseconds."""

    @property
    def busbar_us(self) -> float:
        """That of what is ours."""
        return sum(microseconds for kind, microseconds in self.cpu_us.items() if kind != "server")


async def main() -> int:
    wrk = shutil.which("wrk")
    if wrk is None:
        sys.stderr.write("there is no wrk here: apt-get install wrk\n")
        return 1
    errors = 0
    async with ways() as both:
        for callers in CALLERS:
            runs: dict[str, list[Run]] = {way.name: [] for way in both}
            loops = []
            for _ in range(ROUNDS):
                loops.append(loop_s())
                for way in both:
                    await asyncio.to_thread(ask, wrk, way, callers, _WARM_UP_S)
                    runs[way.name].append(await asyncio.to_thread(ask, wrk, way, callers, SECONDS))
            errors += sum(run.errors for told in runs.values() for run in told)
            _tell(callers, runs, statistics.median(loops))
    return 1 if errors else 0


@asynccontextmanager
async def ways() -> AsyncIterator[list[Way]]:
    """Start everything; yield the direct way, and ours."""
    async with python_process("tests.bench.echo_server") as server:
        await until(lambda: server.stdout().endswith("\n"))
        url = server.stdout().strip()
        async with fleet({"echo": {"url": url, "max_in_flight": 400, "era": "modern"}}) as running:
            params = {"name": "echo", "arguments": _ARGUMENTS, "_meta": _META}
            direct = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            query = {"server": "echo", "tool": "echo", "arguments": _ARGUMENTS}
            yield [
                Way("direct", url, _DIRECT, json.dumps(direct).encode(), {"server": server.pid}),
                Way(
                    "busbar",
                    f"{running.urls[0]}/v1/query",
                    {"content-type": "application/json"},
                    json.dumps(query).encode(),
                    _pids(running, server),
                ),
            ]


def _pids(running: Fleet, server: RunningProcess) -> Mapping[str, int]:
    return {
        "orchestrator": running.orchestrators[0].process.pid,
        "nats": running.nats.pid,
        "worker": running.workers[0].process.pid,
        "server": server.pid,
    }


def ask(wrk: str, way: Way, callers: int, seconds: int) -> Run:
    """Keep so many callers busy on one way for some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "ask.lua")
        script.write_text(_script(way))
        before = _cpu_s(way.pids)
        command = [wrk, "-t1", f"-c{callers}", f"-d{seconds}s", "--timeout=30s", "-s", str(script), way.url]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers = re.search(r"told (\d+) (\d+) (\S+) (\S+) (\S+)", told.stdout)
    assert numbers is not None, told.stdout
    requests, errors, duration_us, p50_us, p99_us = map(float, numbers.groups())
    cpu = {name: 1e6 * (spent - before[name]) / max(1, requests) for name, spent in _cpu_s(way.pids).items()}
    return Run(requests / duration_us * 1e6, p50_us / 1000, p99_us / 1000, int(errors), cpu)


def _script(way: Way) -> str:
    headers = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(text)}" for name, text in way.headers.items()]
    return "\n".join(
        [
            'wrk.method = "POST"',
            f"wrk.body = [==[{way.body.decode()}]==]",
            *headers,
            "done = function(summary, latency)",
            "  local wrong = summary.errors",
            "  local errors = wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout",
            '  io.write(string.format("told %d %d %f %f %f\\n", summary.requests, errors, summary.duration,',
            "    latency:percentile(50), latency:percentile(99)))",
            "end",
        ]
    )


def _cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return {name: spent.user + spent.system for name, spent in times.items()}


def loop_s() -> float:
    """How long `LOOP_ADDITIONS` take now, in seconds of processor time."""
    began = time.process_time()
    total = 0
    for number in range(LOOP_ADDITIONS):
        total += number
    return time.process_time() - began


def _tell(callers: int, runs: Mapping[str, list[Run]], loop_s: float) -> None:
    print(f"\n{callers} callers (ten million additions: {loop_s:.2f} s)\n")
    print("| way | per second | p50 | p99 | errors | processor time per query |")
    print("|--|--:|--:|--:|--:|--|")
    for name, told in runs.items():
        middle = {kind: statistics.median(run.cpu_us[kind] for run in told) for kind in told[0].cpu_us}
        cost = ", ".join(f"{kind} {microseconds:.0f} µs" for kind, microseconds in middle.items())
        ours = statistics.median(run.busbar_us for run in told)
        print(
            f"| {name} | {statistics.median(run.per_s for run in told):,.0f} "
            f"| {statistics.median(run.p50_ms for run in told):.2f} ms "
            f"| {statistics.median(run.p99_ms for run in told):.2f} ms | {sum(run.errors for run in told)} "
            f"| {cost}{f'; Busbar {ours:.0f} µs' if ours else ''} |",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
