"""What the fleet's own words say about each configured server, and what the cache holds."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from services.health.hearing import Hearing
from services.health.state import CacheStats, HealthReport, Known, Status, WorkerFinding, report_health
from services.runtime.breakers import BreakerWords
from services.runtime.config.policy import Policy
from services.runtime.fleet import Fleet
from services.runtime.maintenance import MaintenanceWords
from services.runtime.replicas import Replicas
from services.runtime.store import Store, StoreError
from services.runtime.store.cache_book import count

_COUNT_EVERY_S: Final = 1.0
_KEPT_S: Final = 0.1
"""With a thousand servers a report takes five milliseconds to write; however often it is asked for, ten a second do."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Whose words are heard once there is a bus."""

    hearing: Hearing
    fleet: Fleet
    replicas: Replicas
    breakers: BreakerWords
    maintenance: MaintenanceWords


@dataclass(frozen=True, slots=True)
class Answer:
    """A report as it goes out."""

    status: int
    """Of HTTP."""
    body: bytes
    written_at: float
    """Seconds of the monitor's clock."""


class HealthMonitor:
    """Reports from memory, whatever the servers, the bus and the store do."""

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._sources: Sources | None = None
        self._entries = 0
        self._answer: Answer | None = None

    def watch(self, sources: Sources) -> None:
        """Report from now on what workers and orchestrators say; before, no server can be reached."""
        self._sources = sources

    async def count_entries(self, store: Store) -> None:
        """Count the live entries of the cache every second; none while there is no store."""
        while True:
            try:
                self._entries = sum((await count(store)).values())
            except StoreError:
                self._entries = 0
            await asyncio.sleep(_COUNT_EVERY_S)

    @property
    def is_watching(self) -> bool:
        return self._sources is not None

    @property
    def is_bus_up(self) -> bool:
        return self._sources is not None and self._sources.hearing.is_up

    def answer(self) -> Answer:
        """Return the report of now, at most a tenth of a second old."""
        now = self._clock()
        if self._answer is None or now - self._answer.written_at >= _KEPT_S:
            report = self.report()
            status = 503 if report.status is Status.UNHEALTHY else 200
            self._answer = Answer(status, report.model_dump_json().encode(), now)
        return self._answer

    def report(self) -> HealthReport:
        """Return how every configured server does now."""
        known = Known({}, is_bus_up=False) if self._sources is None else self._known(self._sources)
        return report_health(self._policy.servers, known, now=time.time())

    def _known(self, sources: Sources) -> Known:
        findings: dict[str, list[WorkerFinding]] = {}
        for worker in sources.fleet.workers():
            report = worker.report
            fault = None if report.fault is None else report.fault.value
            findings.setdefault(report.server, []).append(
                WorkerFinding(report.version, worker.is_serving, report.latency_ms, report.checked_at, fault)
            )
        return Known(
            findings,
            is_bus_up=sources.hearing.is_up,
            open_circuits=_open_circuits(sources, findings, self._clock()),
            in_maintenance=sources.maintenance.out(),
            cache=CacheStats(hit_rate=sources.replicas.cache_counts().hit_rate, entries=self._entries),
        )


def _open_circuits(
    sources: Sources, findings: Mapping[str, Collection[WorkerFinding]], now: float
) -> Collection[tuple[str, str]]:
    """Return the (server, version) whose calls every live orchestrator refuses `now`; while it is probed, too.

    What opens in one holds in all: they tell each other. Where none lives, nothing is refused.
    """
    if not sources.replicas.instances():
        return frozenset()
    versions = {(server, one.version) for server, found in findings.items() for one in found}
    words = ((key, sources.breakers.of(*key)) for key in versions)
    return {key for key, standing in words if standing is not None and now < standing.until}
