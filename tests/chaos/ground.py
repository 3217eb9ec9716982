"""What the faults are done to: two orchestrators, two workers of each of two MCP servers or three, a store, NATS."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from tests.chaos.bus import ChaosBus, chaos_bus
from tests.chaos.fickle_server import FickleServer
from tests.chaos.load import DECLARED
from tests.support.fleet import Fleet, Orchestrator, Worker, fleet
from tests.support.servers import ValkeyServer, valkey_server

FIRST, SECOND, THIRD = "first", "second", "third"
"""The servers. SECOND is the alternate of FIRST; THIRD, where there is one, has nothing to do with either."""
OF_EACH = 2
"""Orchestrators, and workers of each server."""
_LEAVE_S = 20.0
_POLL_S = 0.02
PROPAGATION_S = 2.0
"""How long a leaving orchestrator goes on serving while it says so: longer than callers take to go elsewhere."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs between grounds."""

    nodes: int = 1
    """Of NATS."""
    max_in_flight: int = 32
    """Slots of each worker: what waits for more does so where deadlines are watched, not inside the MCP server."""
    timeout_s: float = 4.0
    """What a server may take."""
    servers: tuple[str, ...] = (FIRST, SECOND)


USUAL = Plan()


@dataclass(slots=True)
class Ground:
    """What runs. Made by `open_ground()`.

    Who is replaced is always the youngest of its kind: the eldest orchestrator and the eldest worker of each server
    live through every row, so that a long run can tell what it did to them.
    """

    plan: Plan
    fleet: Fleet
    bus: ChaosBus
    store: ValkeyServer
    servers: dict[str, FickleServer]
    ledger: Path

    @property
    def orchestrators(self) -> list[Orchestrator]:
        return self.fleet.orchestrators

    def youngest_worker(self, server: str) -> Worker:
        return self._workers(server)[-1]

    async def start_worker(self, server: str) -> None:
        """Start one more, with a worker's credentials; `fleet.wait_connected()` afterwards."""
        await self.fleet.start_worker(server, env={"BUSBAR_NATS_URL": self.bus.worker_url})

    async def let_worker_leave(self, worker: Worker) -> None:
        """SIGTERM it, and return when it has left with status 0."""
        worker.process.signal(signal.SIGTERM)
        status = await worker.process.wait(timeout_s=_LEAVE_S)
        self.fleet.workers.remove(worker)
        if status != 0:
            raise RuntimeError(f"a worker left with status {status}:\n{worker.process.stderr()[-4000:]}")

    async def wait_away(self, server: str) -> None:
        """Return when every orchestrator says of `server` that nobody serves it."""
        for number in range(len(self.orchestrators)):
            while await self._status(server, orchestrator=number) != "disconnected":
                await anyio.sleep(_POLL_S)

    async def mend(self) -> None:
        """Return when everything is there again, whatever was done to it."""
        for node in self.bus.nodes:
            await _mend(node)
        await _mend(self.store)
        for server in self.servers.values():
            await _mend(server)
            server.become("well")
        self.fleet.workers[:] = [one for one in self.fleet.workers if one.process.returncode is None]
        for name in self.servers:
            for _ in range(OF_EACH - len(self._workers(name))):
                await self.start_worker(name)
        self.fleet.orchestrators[:] = [one for one in self.orchestrators if one.process.returncode is None]
        await self.fleet.start_orchestrators(
            OF_EACH - len(self.orchestrators), env={"BUSBAR_ANNOUNCE_S": str(PROPAGATION_S)}
        )
        await self.fleet.wait_connected()

    async def renew_orchestrators(self) -> None:
        """Replace both, and with them what they remember of servers."""
        for orchestrator in self.orchestrators:
            await orchestrator.process.kill()
        await self.mend()

    def pids(self) -> dict[str, int]:
        """The services' processes, by name."""
        named = {f"orchestrator {number}": one.process.pid for number, one in enumerate(self.orchestrators, 1)}
        for server in self.servers:
            named |= {f"worker {server} {n}": one.process.pid for n, one in enumerate(self._workers(server), 1)}
        return named

    async def _status(self, server: str, *, orchestrator: int) -> str:
        answer = await self.fleet.get("/v1/servers", orchestrator=orchestrator)
        return {str(one["name"]): str(one["status"]) for one in answer.json["servers"]}[server]

    def _workers(self, server: str) -> list[Worker]:
        return [worker for worker in self.fleet.workers if worker.server == server]


async def _mend(server: Any) -> None:
    """Let a paused server go on, and start one that has ended."""
    try:
        server.resume()
        os.kill(server.pid, 0)
    except ProcessLookupError:
        await server.start()


@asynccontextmanager
async def open_ground(folder: Path, plan: Plan) -> AsyncIterator[Ground]:
    """Start everything in an empty `folder`; entered when it serves."""
    ledger = folder / "ledger"
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(chaos_bus(folder, nodes=plan.nodes))
        store = await stack.enter_async_context(valkey_server())
        servers: dict[str, FickleServer] = {}
        for name in plan.servers:
            place = folder / name
            place.mkdir()
            servers[name] = FickleServer(place, ledger)
            stack.callback(servers[name].end)
            await servers[name].start_on_free_port()
        running = await stack.enter_async_context(
            fleet(
                _config(servers, plan),
                orchestrators=0,
                workers={},
                bus=bus.nodes[0],
                store=store,
                env={"BUSBAR_NATS_URL": bus.url},
            )
        )
        ground = Ground(plan, running, bus, store, servers, ledger)
        await ground.mend()
        yield ground


def _config(servers: dict[str, FickleServer], plan: Plan) -> dict[str, Any]:
    # Every id is new, so that each declared call looks into the store, misses, and writes there.
    declared = {"idempotent": True, "cache_ttl_s": 60, "cache_scope": "public"}
    shared = {"max_in_flight": plan.max_in_flight, "timeout_s": plan.timeout_s, "tools": {DECLARED: declared}}
    alternates = {FIRST: [SECOND]}
    return {
        name: {"url": server.url, "alternates": alternates.get(name, []), **shared} for name, server in servers.items()
    }
