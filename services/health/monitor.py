"""What the fleet's own words say about each configured server, and what the cache holds."""

import asyncio
import time
from typing import Final

from services.health.state import CacheStats, HealthReport, WorkerFinding, report_health
from services.runtime.bus import Bus
from services.runtime.config.policy import Policy
from services.runtime.fleet import Fleet
from services.runtime.replicas import Replicas
from services.runtime.store import Store, StoreError
from services.runtime.store.cache_book import count

_COUNT_EVERY_S: Final = 1.0


class HealthMonitor:
    """Reports from memory; takes microseconds, whatever the servers and the store do."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._bus: Bus | None = None
        self._fleet: Fleet | None = None
        self._replicas: Replicas | None = None
        self._entries = 0

    def watch(self, bus: Bus, fleet: Fleet, replicas: Replicas) -> None:
        """Report from now on what workers and orchestrators say; before, no server can be reached."""
        self._bus, self._fleet, self._replicas = bus, fleet, replicas

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
        return self._fleet is not None

    def report(self) -> HealthReport:
        """Return how every configured server does now."""
        findings: dict[str, list[WorkerFinding]] = {}
        for worker in () if self._fleet is None else self._fleet.workers():
            report = worker.report
            fault = None if report.fault is None else report.fault.value
            finding = WorkerFinding(worker.is_serving, report.latency_ms, report.checked_at, fault)
            findings.setdefault(report.server, []).append(finding)
        is_bus_up = self._bus is not None and self._bus.connected
        return report_health(
            self._policy.servers, findings, cache=self._cache_stats(), is_bus_up=is_bus_up, now=time.time()
        )

    def _cache_stats(self) -> CacheStats:
        hit_rate = 0.0 if self._replicas is None else self._replicas.cache_counts().hit_rate
        return CacheStats(hit_rate=hit_rate, entries=self._entries)
