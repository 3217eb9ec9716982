"""What the plan has to know of the fleet: who serves which version, what it offers, what was counted of it."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping

from bus_schemas.breakers import BreakerState
from bus_schemas.workers import Catalogue, WorkerState
from services.admin.rollouts.plan import Facts
from services.admin.rollouts.rollout import Observed, Rollout
from services.admin.rollouts.window import Window
from services.runtime.breakers import BreakerWords
from services.runtime.fleet import Fleet, Worker
from services.runtime.replicas import Replicas
from services.runtime.rollouts import RolloutWords, effective_weights


class Fleetwatch:
    """The versions of servers, as their workers say."""

    def __init__(self, fleet: Fleet, replicas: Replicas, words: RolloutWords, breakers: BreakerWords) -> None:
        self._fleet = fleet
        self._replicas = replicas
        self._words = words
        self._breakers = breakers

    def begin_lap(self, rollout: Rollout) -> "Lap":
        """Watch one rollout from now on."""
        return Lap(rollout, self, self._replicas, self._breakers)

    def workers(self, server: str, version: str) -> list[Worker]:
        """Return every live worker of a version, whatever its state."""
        return list(self._of(server, version))

    def serves(self, server: str, version: str) -> bool:
        """Whether a worker of the version serves."""
        return any(worker.is_serving for worker in self._of(server, version))

    def weights(self, server: str) -> Mapping[str, float]:
        """Return the weights in force among the versions that serve; empty: nobody serves the server."""
        serving = [worker.report for worker in self._fleet.workers() if worker.is_serving]
        reports = [report for report in serving if report.server == server]
        if not reports:
            return {}
        first = min(reports, key=lambda report: (report.started_at, report.version)).version
        return effective_weights(self._words.weights(server), {report.version for report in reports}, first)

    def current_version(self, server: str) -> str | None:
        """Return the version that has the most of a server's queries; None: nobody serves it."""
        weights = self.weights(server)
        return max(weights, key=lambda version: (weights[version], version), default=None)

    def missing(self, server: str, *, old: str, new: str) -> tuple[str, ...]:
        """Return the tools and prompts that the old version offers and the new one lacks, as far as that is known."""
        offered, offers = self._names(server, old), self._names(server, new)
        return () if offered is None or offers is None else tuple(sorted(offered - offers))

    def fault(self, server: str, version: str) -> str | None:
        """Return why a version's servers have no session, as one of its workers says."""
        faults = [worker.report.fault for worker in self._of(server, version)]
        return next((fault.value for fault in faults if fault is not None), None)

    def restarts(self, server: str, version: str) -> dict[str, int]:
        """Return how often each worker has opened its session anew."""
        return {worker.report.instance: worker.report.restarts for worker in self._of(server, version)}

    def _of(self, server: str, version: str) -> Iterator[Worker]:
        for worker in self._fleet.workers():
            if (worker.report.server, worker.report.version) == (server, version):
                yield worker

    def _names(self, server: str, version: str) -> set[str] | None:
        """What all serving workers of the version offer together."""
        known = [self._fleet.catalogue(worker) for worker in self._of(server, version) if worker.is_serving]
        catalogues = [catalogue for catalogue in known if catalogue is not None]
        return {name for catalogue in catalogues for name in _names_in(catalogue)} if catalogues else None


class Lap:
    """What is watched of one rollout since its time began anew."""

    def __init__(
        self,
        rollout: Rollout,
        watch: Fleetwatch,
        replicas: Replicas,
        breakers: BreakerWords,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin now. `clock` is in seconds, and that of `replicas`."""
        self._rollout = rollout
        self._watch = watch
        self._replicas = replicas
        self._breakers = breakers
        self._clock = clock
        self._began_at = self._served_at = clock()
        self._restarts = watch.restarts(rollout.server, rollout.to_version)
        self._window = Window(rollout.server, replicas.heartbeats())

    @property
    def number(self) -> int:
        """Which lap of the rollout it is."""
        return self._rollout.lap

    def facts(self) -> Facts:
        """Look around; call it several times a second."""
        server, new, old = self._rollout.server, self._rollout.to_version, self._rollout.from_version
        now = self._clock()
        self._window.add(self._replicas.heartbeats())
        new_serves = self._watch.serves(server, new)
        if new_serves:
            self._served_at = now
        restarts = self._watch.restarts(server, new)
        breaker = self._breakers.of(server, new)
        old_workers = self._watch.workers(server, old)
        return Facts(
            elapsed_s=now - self._began_at,
            is_current=self._replicas.have_spoken_since(self._began_at + self._rollout.order.step_s),
            new=self._window.of(new),
            old=self._window.of(old),
            old_ever=self._window.ever(old),
            new_serves=new_serves,
            old_serves=self._watch.serves(server, old),
            gone_s=now - self._served_at,
            fault=self._watch.fault(server, new),
            missing=self._watch.missing(server, old=old, new=new),
            restarts=sum(max(0, count - self._restarts.get(name, count)) for name, count in restarts.items()),
            breaker_open=breaker is not None and breaker.word.state is BreakerState.OPEN,
            old_workers=sum(worker.report.state is not WorkerState.DRAINING for worker in old_workers),
        )

    def observed(self) -> dict[str, Observed]:
        """Return what was counted of both versions, as a caller is told."""
        versions: Collection[str] = (self._rollout.from_version, self._rollout.to_version)
        return {version: Observed.of(self._window.of(version)) for version in versions}


def _names_in(catalogue: Catalogue) -> Iterator[str]:
    for definition in (*catalogue.tools, *catalogue.prompts):
        yield str(definition.get("name"))
