"""Versions of servers that are being deployed: started beside those in force, and then one of the two is stopped."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from bus_schemas.config import DeploymentAnswer, DeployServer, StopOutcome, StopVersion
from bus_schemas.rollouts import RolloutWeights
from services.runtime.bus import BusAwayError
from services.runtime.config.errors import ConfigError
from services.supervisor.configuration import Reading, deployed, read_whole
from services.supervisor.crew import Crew
from services.supervisor.reloading import Spawn, Standing
from services.supervisor.weights import Weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Deployment:
    from_version: str
    to_version: str
    file: Reading
    after_epoch: int
    """Of the word that pinned the version in force: no word before it is about this deployment."""


class Deployments:
    """Starts new versions, and follows their rollouts to the end, also when nobody else watches any more."""

    def __init__(self, standing: Standing, crew: Crew, weights: Weights, *, instance: str, spawn: Spawn) -> None:
        self._standing = standing
        self._crew = crew
        self._weights = weights
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
        await self.catch_up()
        if (problem := self._problem(server, file)) is not None:
            return self._refused(problem)
        from_version, to_version = self._version(server), file.policy.servers[server].version
        running = self._attempt(server)
        if running is None or running.to_version != to_version:
            if running is not None:
                self._give_up(server, running)
            try:
                await self._begin(server, from_version, file)
            except BusAwayError:
                return self._refused("the bus went away; try again in a moment")
            except OSError as error:
                return self._refused(f"the state folder cannot be written: {error.strerror}")
        return DeploymentAnswer(
            instance=self._instance, from_version=from_version, to_version=to_version, workers=self._crew.workers
        )

    def stop_version(self, order: StopVersion) -> StopOutcome:
        """Stop a version that is being deployed, unless its rollout goes on: that decides. One in force stays."""
        running = self._attempt(order.server)
        if running is None or order.version not in {None, running.to_version}:
            return "not_deployed"
        if self._weights.is_under_way(order.server, running.to_version):
            return "under_way"
        self._give_up(order.server, running)
        return "stopped"

    async def catch_up(self) -> None:
        """Take the words that were said while nobody was heard."""
        for word in await self._weights.ask():
            self.take_word(word)

    def take_word(self, word: RolloutWeights) -> None:
        """Stop the version that has lost, once the weights of a deployed server are settled."""
        if not self._weights.take(word):
            return
        running = self._running.get(word.server)
        if running is None or word.under_way or word.epoch <= running.after_epoch:
            return
        is_served = word.server in self._standing.reading.policy.servers  # a reload may have taken it out
        if is_served and word.weights.get(running.to_version, 0) > 0:
            self._complete(word.server, running)
        else:
            self._give_up(word.server, running)

    def _problem(self, server: str, file: Reading) -> str | None:
        """Return why the version in the file cannot be started; None if it can, or has been."""
        if (problem := _problem_of(server, self._standing.reading, file)) is not None:
            return problem
        version, running = file.policy.servers[server].version, self._attempt(server)
        if running is not None and running.to_version == version:
            return None
        if self._weights.is_under_way(server):
            return f"servers.{server}.version: a rollout goes on; end it first, see `busbar rollout show {server}`"
        if version in self._crew.versions(server):
            return f"servers.{server}.version: {version} is still being stopped; try again in a moment"
        return None

    def _attempt(self, server: str) -> _Deployment | None:
        """Return the deployment of a server that goes on; one that a reload has ended with its server is forgotten."""
        running = self._running.get(server)
        if running is not None and running.to_version not in self._crew.versions(server):
            del self._running[server]
            return None
        return running

    def _version(self, server: str) -> str:
        """Return the version in force."""
        return self._standing.reading.policy.servers[server].version

    async def _begin(self, server: str, from_version: str, file: Reading) -> None:
        """Start the version in the file. Before it can be seen, the one in force is pinned: it would share queries."""
        to_version = file.policy.servers[server].version
        epoch = await self._weights.pin(server, from_version)
        path = self._standing.files.write_for(server, to_version, file.entries[server])
        self._crew.begin(server, to_version, file.connections[server], path)
        self._running[server] = _Deployment(from_version, to_version, file, epoch)
        log.info("version started", extra={"server": server, "from": from_version, "to": to_version})

    def _complete(self, server: str, done: _Deployment) -> None:
        del self._running[server]
        reading = deployed(self._standing.reading, done.file, server)
        try:
            self._standing.replace(reading)
        except OSError as error:  # a full disk must not keep both versions running
            self._standing.reading = reading
            log.warning("configuration of workers cannot be written", extra={"cause": error.strerror})
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
