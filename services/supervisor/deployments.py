"""Versions of servers that are being deployed: started beside those in force, and then one of the two is stopped."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from bus_schemas.config import DeploymentAnswer, DeployServer, StopVersion
from bus_schemas.rollouts import RolloutWeights
from services.runtime.config.errors import ConfigError
from services.supervisor.configuration import Reading, deployed, read_whole
from services.supervisor.crew import Crew
from services.supervisor.reloading import Spawn, Standing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Deployment:
    from_version: str
    to_version: str
    file: Reading
    began_ms: int
    """Since 1970: no older word on weights is about it."""


class Deployments:
    """Starts new versions, and follows their rollouts to the end, also when nobody else watches any more."""

    def __init__(self, standing: Standing, crew: Crew, *, instance: str, spawn: Spawn) -> None:
        self._standing = standing
        self._crew = crew
        self._instance = instance
        self._spawn = spawn
        self._running: dict[str, _Deployment] = {}

    async def deploy(self, order: DeployServer) -> DeploymentAnswer:
        """Start the workers of the version that is in the file; of one that is being deployed already, tell so."""
        server = order.server
        try:
            file = await asyncio.to_thread(read_whole, Path(order.config_file))
        except ConfigError as error:
            return self._refused(*error.without_values())
        if (problem := self._problem(server, file)) is not None:
            return self._refused(problem)
        from_version = self._standing.reading.policy.servers[server].version
        to_version, connection = file.policy.servers[server].version, file.connections[server]
        if server not in self._running:
            self._running[server] = _Deployment(from_version, to_version, file, int(time.time() * 1000))
            path = self._standing.files.write_for(server, to_version, file.entries[server])
            self._crew.begin(server, to_version, connection, path)
            log.info("version started", extra={"server": server, "from": from_version, "to": to_version})
        return DeploymentAnswer(
            instance=self._instance, from_version=from_version, to_version=to_version, workers=self._crew.workers
        )

    def stop_version(self, order: StopVersion) -> None:
        """Stop a version that is being deployed; one in force stays."""
        running = self._running.get(order.server)
        if running is not None and running.to_version == order.version:
            self._give_up(order.server, running)

    def take_word(self, word: RolloutWeights) -> None:
        """Stop the version that has lost, once the weights of a deployed server are settled."""
        running = self._running.get(word.server)
        if running is None or word.under_way or word.epoch < running.began_ms:
            return
        is_served = word.server in self._standing.reading.policy.servers  # a reload may have taken it out
        if is_served and word.weights.get(running.to_version, 0) > 0:
            self._complete(word.server, running)
        else:
            self._give_up(word.server, running)

    def _problem(self, server: str, file: Reading) -> str | None:
        """Return why the version in the file cannot be started; None if it can, or has been."""
        problem = _problem_of(server, self._standing.reading, file)
        version = "" if problem else file.policy.servers[server].version
        running = self._running.get(server)
        if problem is None and running is not None and running.to_version != version:
            problem = f"servers.{server}.version: {running.to_version} is being deployed; end its rollout first"
        elif problem is None and running is None and version in self._crew.versions(server):
            problem = f"servers.{server}.version: {version} is still being stopped; try again in a moment"
        return problem

    def _complete(self, server: str, done: _Deployment) -> None:
        del self._running[server]
        self._standing.replace(deployed(self._standing.reading, done.file, server))
        self._spawn(self._end(server, done.from_version))
        log.info("version deployed", extra={"server": server, "from": done.from_version, "to": done.to_version})

    def _give_up(self, server: str, undone: _Deployment) -> None:
        del self._running[server]
        self._spawn(self._end(server, undone.to_version))
        log.warning(
            "version not deployed", extra={"server": server, "from": undone.from_version, "to": undone.to_version}
        )

    async def _end(self, server: str, version: str) -> None:
        await self._crew.end(server, version)
        self._standing.files.remove_for(server, version)

    def _refused(self, *problems: str) -> DeploymentAnswer:
        return DeploymentAnswer(instance=self._instance, problems=list(problems))


def _problem_of(server: str, in_force: Reading, file: Reading) -> str | None:
    """Return why the version in the file can never be started beside the one in force."""
    old, new = in_force.policy.servers.get(server), file.policy.servers.get(server)
    if old is None:
        return f"servers.{server}: is not served yet; put it into the configuration of this system, and reload"
    if new is None:
        return f"servers.{server}: is not in the file"
    if old.version == new.version:
        return f"servers.{server}.version: {new.version} is in force already; raise it"
    old_way, new_way = in_force.connections[server], file.connections[server]
    if old_way.command and new_way.command and old_way.url is not None and old_way.url == new_way.url:
        return f"servers.{server}.url: the version in force listens there; give the new one a port of its own"
    return None
