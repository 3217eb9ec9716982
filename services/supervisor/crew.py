"""The workers of each version of each server, and the processes of servers that we start: begun, replaced, ended."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from services.runtime.config.connections import Connection
from services.supervisor.launching import Launcher
from services.supervisor.managed import ManagedProcess, Stage
from services.supervisor.plan import Service, plan_worker
from services.supervisor.probes import is_ready
from services.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

SERVES_WITHIN_S: Final = 30.0
"""How long a worker that replaces another may take until its session works; after that the old one stays."""
_POLL_S: Final = 0.1


@dataclass(slots=True)
class _Team:
    """Of one version of one server."""

    connection: Connection
    config: Path
    """What its workers read, from their next start on."""
    servers: list[ManagedProcess] = field(default_factory=list)
    """The processes of the server that we start: none, one, or more while workers are replaced; the newest last."""
    workers: dict[str, ManagedProcess] = field(default_factory=dict)
    """By name."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Crew:
    """Starts and ends them. What has ended for good is forgotten."""

    def __init__(
        self,
        supervisor: Supervisor,
        launcher: Launcher,
        *,
        workers: int,
        ports: Iterator[int],
        changed: Callable[[], None],
    ) -> None:
        """Start nothing yet.

        Args:
            supervisor: keeps the processes running.
            launcher: says how each is started.
            workers: how many of each version.
            ports: free ports for the workers' own probes.
            changed: called when a process has got another id, or has ended for good.
        """
        self._supervisor = supervisor
        self._launcher = launcher
        self._workers = workers
        self._ports = ports
        self._changed = changed
        self._teams: dict[tuple[str, str], _Team] = {}
        self._services: dict[str, Service] = {}
        self._instances: dict[str, str] = {}
        """What each worker calls itself on the bus, by its name as a process."""

    @property
    def workers(self) -> int:
        """How many there are of each version."""
        return self._workers

    def services(self) -> list[Service]:
        """Return the workers that are to run now."""
        return list(self._services.values())

    def server_processes(self) -> Mapping[str, ManagedProcess]:
        """Return the processes of servers that we start, by the server's name."""
        return {server: team.servers[-1] for (server, _), team in self._teams.items() if team.servers}

    def versions(self, server: str) -> list[str]:
        """Return the versions of a server that have workers of ours, those that are being stopped included."""
        return [version for name, version in self._teams if name == server]

    def begin(
        self, server: str, version: str, connection: Connection, config: Path, planned: Sequence[Service] = ()
    ) -> None:
        """Start the workers of a version, and its server if we are to start that.

        Args:
            server: the server's name.
            version: of it.
            connection: how it is reached.
            config: what its workers read.
            planned: the workers; by default as many as there are of each version.
        """
        team = self._teams[server, version] = _Team(connection, config)
        self._start_server(team, server)
        for service in planned:
            self._start_worker(team, service)
        for _ in range(0 if planned else self._workers):
            self._start_worker(team, self._plan(server, version))

    def retire(self, instance: str) -> None:
        """Let a worker that was ordered to drain leave for good, if it is one of ours."""
        names = {name for name, known in self._instances.items() if known == instance}
        for team in self._teams.values():
            for name in names & team.workers.keys():
                team.workers[name].retire()

    async def end(self, server: str, version: str) -> None:
        """Drain and stop the workers of a version, then its server; return when they have ended."""
        team = self._teams.get((server, version))
        if team is None:
            return
        async with team.turn:
            await asyncio.gather(*(process.stop() for process in team.workers.values()))
            await asyncio.gather(*(process.stop() for process in team.servers))
        if self._teams.get((server, version)) is team:  # it may have been begun anew meanwhile
            del self._teams[server, version]

    async def replace(self, server: str, version: str, connection: Connection, config: Path) -> None:
        """Let other workers take the place of those of a version, one by one: each leaves once another serves.

        A worker that serves stays if the one that is to replace it does not.
        """
        team = self._teams.get((server, version))
        if team is None:
            return
        async with team.turn:
            former, old_workers = list(team.servers), dict(team.workers)
            goes_on = bool(former) and bool(connection.command) and team.connection.url == connection.url
            team.connection, team.config = connection, config
            if not goes_on:
                self._start_server(team, server)
            for name, old in old_workers.items():
                if not await self._replace_worker(team, self._services.get(name), old, self._plan(server, version)):
                    return
            for process in [] if goes_on else former:
                await process.stop()
                team.servers.remove(process)

    async def _replace_worker(self, team: _Team, known: Service | None, old: ManagedProcess, service: Service) -> bool:
        """Return whether the old worker has left."""
        new = self._start_worker(team, service)
        give_up_at = time.monotonic() + SERVES_WITHIN_S
        while not await is_ready(service) and time.monotonic() < give_up_at:
            await asyncio.sleep(_POLL_S)
        if not await is_ready(service) and known is not None and await is_ready(known):
            log.warning("worker does not serve, the one that it should replace stays", extra={"child": service.name})
            await new.stop()
            return False
        await old.stop()
        return True

    def _plan(self, server: str, version: str) -> Service:
        number = next(number for number in count(1) if not self._supervisor.has(f"worker-{server}-{number}"))
        return plan_worker(server, version, number, next(self._ports))

    def _start_worker(self, team: _Team, service: Service) -> ManagedProcess:
        def note(instance: str) -> None:
            self._instances[service.name] = instance

        def changed() -> None:
            if managed.has_ended:
                team.workers.pop(service.name, None)
                self._services.pop(service.name, None)
                self._instances.pop(service.name, None)
            self._changed()

        managed = ManagedProcess(
            service.name,
            self._launcher.worker(service, config=lambda: team.config, note=note),
            stage=service.stage,
            changed=changed,
        )
        team.workers[service.name] = managed
        self._services[service.name] = service
        self._supervisor.add(managed)
        return managed

    def _start_server(self, team: _Team, server: str) -> None:
        """Start the server's process, if it is for us to start it."""
        if team.connection.url is None or not team.connection.command:
            return
        names = (f"server-{server}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
        name = next(name for name in names if not self._supervisor.has(name))
        process = ManagedProcess(
            name, self._launcher.server(server, team.connection), stage=Stage.ATTENDANTS, changed=self._changed
        )
        team.servers.append(process)
        self._supervisor.add(process)
