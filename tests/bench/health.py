"""How fast /health/mcp answers while everything around it breaks: `python -m tests.bench.health`.

Starts `busbar up` with servers that work, hang, crash and refuse, and sends 300 queries a second through it. Its health
is asked for 50 times a second, then at full speed, while NATS is frozen and killed in turn, a server's process is
frozen, and somebody announces a catalogue of four megabytes. Then a health service alone follows a thousand servers.

A process that only sleeps for a moment on each processor, with precedence over all others where it is let, notes
when the machine itself stands still, as virtual ones do: what an answer takes longer then is not ours. Prints Markdown;
status 1 if the p99 is 20 ms or more, or an answer took over 100 ms that met no such pause, or if it was not measured
what was meant: a fault did not come about (one round of them takes 22 s), or the load could not keep its rate.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import psutil

from bus_schemas import subjects
from bus_schemas.workers import Catalogue, WorkerHeartbeat, WorkerJoined, WorkerState
from services.health.state import Known, WorkerFinding, report_health
from tests.bench.health_answers import asked, milliseconds, table_row
from tests.support.fleet import ledger_server, python_server
from tests.support.load_process import load_process
from tests.support.pauses import Span, pauses
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY, python_process, running, wait_ready
from tests.support.records import LoadSummary
from tests.support.servers import nats_server

QUERIES_PER_S = 300
BEHIND_S = 2.0
"""A driver that is later than that has not sent as many."""
MANY = 1000
READY_S = 90.0
_PORTS = [f"--{name}-port=0" for name in ("orchestrator", "health", "admin", "nats", "redis")]


class Breaker:
    """Breaks one thing after another in a running `busbar up`, for ever."""

    def __init__(self, state_dir: Path) -> None:
        self._state_file = state_dir / "state.json"
        self.done: dict[str, int] = {"NATS frozen": 0, "NATS killed": 0, "server frozen": 0}

    async def run(self) -> None:
        while True:
            await self._freeze("NATS frozen", lambda: self._process("nats"), 4.5)
            await asyncio.sleep(3)
            if (bus := self._process("nats")) is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    bus.kill()
                    self.done["NATS killed"] += 1
            await asyncio.sleep(4)
            await self._freeze("server frozen", self._hanging_server, 8)
            await asyncio.sleep(2)

    async def _freeze(self, name: str, find: Callable[[], psutil.Process | None], seconds: float) -> None:
        if (process := find()) is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            try:
                await asyncio.sleep(seconds)
                self.done[name] += 1
            finally:
                process.resume()

    def _process(self, name: str) -> psutil.Process | None:
        pid = json.loads(self._state_file.read_text())["pids"].get(name)
        with contextlib.suppress(psutil.NoSuchProcess):
            return None if pid is None else psutil.Process(pid)
        return None

    def _hanging_server(self) -> psutil.Process | None:
        worker = self._process("worker-hangs_at_times-1")
        found = [] if worker is None else worker.children(recursive=True)
        return found[-1] if found else None


def large_catalogue() -> bytes:
    """The event of a worker that joins with a catalogue of four megabytes."""
    fields = {f"field{number}": {"type": "string", "description": "y" * 40} for number in range(10)}
    schema = {"type": "object", "properties": fields}
    offers = Catalogue(
        tools=[{"name": f"tool{number}", "description": "x" * 300, "inputSchema": schema} for number in range(3400)]
    )
    return WorkerJoined(
        server="large",
        version="1.0.0",
        instance="large1",
        state=WorkerState.SERVING,
        started_at=time.time(),
        sent_at=time.time(),
        catalogue=offers.digest(),
        offers=offers,
    ).encode()


async def _ignore(_: Exception) -> None:
    """What breaks the bus is known here."""


async def announce(nats_url: str, event: bytes) -> None:
    """Say so every three seconds, for ever, whenever there is a bus."""
    client = await nats.connect(nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_ignore)
    try:
        while True:
            if client.is_connected:
                await client.publish(subjects.worker_event("large", "large1"), event)
            await asyncio.sleep(3)
    finally:
        await client.close()


@asynccontextmanager
async def doing(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the loops meanwhile; where one fails, so does what is measured."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        yield
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def system(folder: Path) -> AsyncIterator[Mapping[str, Any]]:
    """A `busbar up` before servers of all kinds; yields what it has printed."""
    config = folder / "busbar.json"
    raw = "tests.support.mcp_servers.raw_stdio"
    servers = {
        "ledger": ledger_server(folder / "ledger", max_in_flight=400),
        "hangs_at_times": python_server(raw),
        "hangs": python_server(raw, "--silent"),
        "crashes": {"command": [sys.executable, "-c", "raise SystemExit(3)"]},
        "refuses": {"url": f"http://127.0.0.1:{free_port()}/mcp"},
    }
    config.touch(mode=0o600)
    config.write_text(json.dumps({"servers": servers}))
    command = [sys.executable, "-m", "services.cli", "up", "--json", f"--config={config}", f"--state-dir={folder}/up"]
    async with running([*command, *_PORTS, "--orchestrators=2"], cwd=REPOSITORY) as up, asyncio.timeout(None) as limit:
        limit.reschedule(asyncio.get_running_loop().time() + READY_S)
        while not up.stdout().endswith("\n"):
            await asyncio.sleep(0.05)
        limit.reschedule(None)
        yield json.loads(up.stdout())


@dataclass(frozen=True, slots=True)
class AmongFaults:
    """What was measured of a whole system that is broken all the time, and what it was measured under."""

    answers: list[tuple[str, list[Span]]]
    faults: Mapping[str, int]
    load: LoadSummary

    @property
    def is_as_meant(self) -> bool:
        return all(self.faults.values()) and self.load.behind_s <= BEHIND_S

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {times} times" for name, times in self.faults.items())
        load = self.load
        return (
            f"Meanwhile {load.sent:,} queries in {load.elapsed_s:.0f} s, {load.answered:,} of them answered "
            f"(the driver was late by {load.behind_s:.2f} s at worst), and {faults}."
        )


async def among_faults(*, paced: int, full: int) -> AmongFaults:
    """Measure a whole system that is broken all the time."""
    with tempfile.TemporaryDirectory(prefix="busbar-health-") as name:
        folder = Path(name)
        async with system(folder) as up:
            breaker = Breaker(folder / "up")
            async with (
                load_process(
                    folder / "record",
                    server="ledger",
                    urls=up["orchestrators"],
                    key=up["keys"]["query"],
                    rate=QUERIES_PER_S,
                    duration_s=3600,
                    timeout_ms=2000,
                ) as load,
                doing(breaker.run(), announce(up["nats"], large_catalogue())),
            ):
                await load.told(QUERIES_PER_S, timeout_s=60)
                at_rate = await asked(up["health"], requests=paced, rate_per_s=50)
                at_full = await asked(up["health"], requests=full)
                summary = await load.stopped(timeout_s=60)
    return AmongFaults([("faults, 50 a second", at_rate), ("faults, full speed", at_full)], breaker.done, summary)


async def beat(nats_url: str) -> None:
    """Say a thousand heartbeats a second, a hundred at a time."""
    client = await nats.connect(nats_url)
    names = [f"server{number}" for number in range(MANY)]
    try:
        while True:
            for number, server in enumerate(names):
                event = WorkerHeartbeat(
                    server=server,
                    version="1.0.0",
                    instance="i1",
                    state=WorkerState.SERVING,
                    started_at=1.0,
                    sent_at=time.time(),
                    latency_ms=1.5,
                    checked_at=time.time(),
                )
                await client.publish(subjects.worker_event(server, "i1"), event.encode())
                if number % 100 == 99:
                    await asyncio.sleep(0.09)
    finally:
        await client.close()


async def with_many_servers(*, requests: int) -> list[tuple[str, list[Span]]]:
    """Measure a health service that follows a thousand servers, and hears large catalogues."""
    with tempfile.TemporaryDirectory(prefix="busbar-health-") as folder:
        config = Path(folder) / "busbar.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"servers": {f"server{number}": {"url": "http://x/"} for number in range(MANY)}}))
        port = free_port()
        async with nats_server() as bus:
            env = {
                "BUSBAR_CONFIG": str(config),
                "BUSBAR_NATS_URL": bus.url,
                "BUSBAR_HEALTH_PORT": str(port),
                "BUSBAR_STATE_DIR": folder,
            }
            url = f"http://127.0.0.1:{port}"
            async with (
                python_process("services.health", env=env) as process,
                doing(beat(bus.url), announce(bus.url, large_catalogue())),
            ):
                await wait_ready(process, f"{url}/readyz")
                paced = await asked(url, requests=requests, rate_per_s=50)
                full = await asked(url, requests=requests)
    return [("1,000 servers, 50 a second", paced), ("1,000 servers, full speed", full)]


def writing_ms(servers: int) -> float:
    """Return what a report on so many servers takes to be made and written, in milliseconds: the handler's own cost."""
    names = [f"server{number}" for number in range(servers)]
    finding = WorkerFinding("1.0.0", is_serving=True, latency_ms=1.5, checked_at=time.time(), fault=None)
    known = Known({name: [finding] for name in names}, is_bus_up=True)
    taken = []
    for _ in range(50):
        began = time.perf_counter()
        report_health(names, known, now=time.time()).model_dump_json().encode()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


async def main(*, paced: int, full: int) -> int:
    async with pauses() as paused:
        faults = await among_faults(paced=paced, full=full)
        measured = faults.answers + await with_many_servers(requests=min(paced, 1000))
        stood_still = paused()
    print("| | answers | p50 ms | p99 ms | max ms | max ms that met no pause |")
    print("|---|--:|--:|--:|--:|--:|")
    rows = [table_row(name, answers, stood_still) for name, answers in measured]
    print(*(line for line, _ in rows), sep="\n")
    longest_ms = max((milliseconds(pause) for pause in stood_still), default=0.0)
    print(f"\n{faults}")
    print(f"The machine stood still {len(stood_still)} times, for up to {longest_ms:.0f} ms.")
    print("A report is written in", ", ".join(f"{writing_ms(n):.2f} ms ({n:,} servers)" for n in (2, 50, MANY)))
    return 0 if faults.is_as_meant and all(is_good for _, is_good in rows) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure /health/mcp among faults.")
    parser.add_argument("--paced", type=int, default=5000, help="answers at 50 a second")
    parser.add_argument("--full", type=int, default=5000, help="answers at full speed")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(paced=options.paced, full=options.full)))
