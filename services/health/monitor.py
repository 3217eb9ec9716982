"""What the fleet's own words say about each configured server."""

import time

from services.health.state import HealthReport, WorkerFinding, report_health
from services.runtime.bus import Bus
from services.runtime.config.policy import Policy
from services.runtime.fleet import Fleet


class HealthMonitor:
    """Reads the fleet's table; takes microseconds, whatever the servers do."""

    def __init__(self, bus: Bus, fleet: Fleet, policy: Policy) -> None:
        self._bus = bus
        self._fleet = fleet
        self._policy = policy

    def report(self) -> HealthReport:
        """Return how every configured server does now."""
        findings: dict[str, list[WorkerFinding]] = {}
        for worker in self._fleet.workers():
            report = worker.report
            fault = None if report.fault is None else report.fault.value
            finding = WorkerFinding(worker.is_serving, report.latency_ms, report.checked_at, fault)
            findings.setdefault(report.server, []).append(finding)
        return report_health(self._policy.servers, findings, is_bus_up=self._bus.connected, now=time.time())
