"""When the system is ready, and how its servers are then."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus_schemas.workers import ServerFault
from services.supervisor.errors import NotReadyError
from services.supervisor.managed import ManagedProcess
from services.supervisor.plan import Plan, Service
from services.supervisor.probes import get, is_ready

CONNECTED: Final = "connected"
STARTING: Final = "starting"
SERVERS_LIMIT_S: Final = 10.0
"""How long `up` waits for the servers; they go on starting after that."""

_SERVICES_LIMIT_S: Final = 60.0
_DEATHS_LIMIT: Final = 3
_POLL_S: Final = 0.05
_FAULTS: Final = frozenset(fault.value for fault in ServerFault)


@dataclass(frozen=True, slots=True)
class WorkerSight:
    """What one worker says."""

    server: str
    fault: str | None
    """Why it has no session with its server; None while it starts, and while it serves."""
    was_asked_too_early: bool = False
    """Whether the server it could not reach is a process of ours that has never died: it may still be starting."""


def outlook(servers: Sequence[str], connected: frozenset[str], sights: Sequence[WorkerSight]) -> dict[str, str]:
    """Return how each server is: `connected`, why its workers have no session, or `starting`.

    Args:
        servers: the names of all.
        connected: those that every orchestrator sees.
        sights: one of every worker.
    """
    return {server: _how_it_is(server, connected, sights) for server in servers}


def _how_it_is(server: str, connected: frozenset[str], sights: Sequence[WorkerSight]) -> str:
    if server in connected:
        return CONNECTED
    faults = [
        None if sight.was_asked_too_early and sight.fault == ServerFault.CONNECTION_REFUSED else sight.fault
        for sight in sights
        if sight.server == server
    ]
    return next((fault for fault in faults if fault is not None), STARTING) if None not in faults else STARTING


class ReadinessWatch:
    """Asks everybody until the system is ready."""

    def __init__(
        self,
        plan: Plan,
        processes: Mapping[str, ManagedProcess],
        servers: Sequence[str],
        *,
        query_key: str,
        server_processes: Mapping[str, ManagedProcess],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what is watched.

        Args:
            plan: the services.
            processes: those that nothing works without, by name.
            servers: the names of all servers.
            query_key: with it the orchestrators are asked.
            server_processes: of the servers that we start ourselves, by the server's name.
            clock: the moment now, in seconds.
        """
        self._plan = plan
        self._processes = processes
        self._servers = servers
        self._query_key = query_key
        self._server_processes = server_processes
        self._clock = clock
        self._unready = {service.name: service for service in plan if service.server is None}

    async def ready(self) -> dict[str, str]:
        """Return how each server is, once every service is ready and each server settled, or 10 s have passed.

        Raises:
            NotReadyError: a process that everything needs died three times, or is not ready within 60 s.
        """
        started_at = self._clock()
        while True:
            ready = await asyncio.gather(*(is_ready(service) for service in self._unready.values()))
            for name in [name for name, ready_now in zip(self._unready, ready, strict=True) if ready_now]:
                del self._unready[name]
            waited_s = self._clock() - started_at
            if not self._unready:
                seen = outlook(self._servers, await self._connected(), await self._sights())
                if STARTING not in seen.values() or waited_s >= SERVERS_LIMIT_S:
                    return seen
            self._refuse_the_hopeless(waited_s)
            await asyncio.sleep(_POLL_S)

    def _refuse_the_hopeless(self, waited_s: float) -> None:
        for name, process in self._processes.items():
            if process.deaths >= _DEATHS_LIMIT:
                raise NotReadyError(f"{name} ends as soon as it is started; its log says why")
        if self._unready and waited_s >= _SERVICES_LIMIT_S:
            raise NotReadyError(f"{', '.join(self._unready)} did not become ready; the log says why")

    async def _connected(self) -> frozenset[str]:
        """Return the servers that every orchestrator sees."""
        replies = await asyncio.gather(
            *(get(service.url, "/v1/servers", key=self._query_key) for service in self._plan.orchestrators)
        )
        everywhere = [
            {server["name"] for server in reply.body["servers"] if server["status"] == CONNECTED}
            if reply is not None and reply.status == 200
            else set[str]()
            for reply in replies
        ]
        return frozenset(set.intersection(*everywhere))

    async def _sights(self) -> list[WorkerSight]:
        return list(await asyncio.gather(*(self._sight(service) for service in self._plan.workers)))

    async def _sight(self, worker: Service) -> WorkerSight:
        reply = await get(worker.url, "/readyz")
        reason = reply.body.get("reason") if reply is not None and isinstance(reply.body, dict) else None
        process = self._server_processes.get(worker.server or "")
        return WorkerSight(
            server=worker.server or "",
            fault=reason if reason in _FAULTS else None,
            was_asked_too_early=process is not None and process.deaths == 0,
        )
