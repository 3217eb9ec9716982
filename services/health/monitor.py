"""What the fleet's own words say about each configured server."""

import time

from services.health.state import HealthReport, WorkerFinding, report_health
from services.runtime.bus import Bus
from services.runtime.config.policy import Policy
from services.runtime.fleet import Fleet


class HealthMonitor:
    """Reads the fleet's table; takes microseconds, whatever the servers do."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._bus: Bus | None = None
        self._fleet: Fleet | None = None

    def watch(self, bus: Bus, fleet: Fleet) -> None:
        """Report from now on what `fleet` says; before, no server can be reached."""
        self._bus, self._fleet = bus, fleet

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
        return report_health(self._policy.servers, findings, is_bus_up=is_bus_up, now=time.time())
