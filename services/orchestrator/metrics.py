"""The customer's metrics of an orchestrator. Labels take names of known servers and codes, never a caller's text."""

import time
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bus_schemas.errors import OF_ADMIN, ErrorCode

UNKNOWN = "unknown"
TOOL_ERROR = "tool_error"
CANCELLED = "cancelled"

_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)


class QueryMetrics:
    """Counts every query, answered or not."""

    def __init__(self, registry: CollectorRegistry, servers: Collection[str], *, connected: Callable[[], int]) -> None:
        """Register the metrics, and make the children of known servers, so that ratios exist before the first error.

        Args:
            registry: of this process.
            servers: the configured ones.
            connected: how many servers have a live worker now.
        """
        self._duration = Histogram(
            "mcp_query_duration_seconds",
            "How long queries took, failures included.",
            ["server"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            "mcp_query_errors_total", "Queries that failed, by code.", ["server", "error_type"], registry=registry
        )
        Gauge("mcp_servers_connected_total", "Servers with a live worker.", registry=registry).set_function(connected)
        started = time.monotonic()
        Gauge("mcp_orchestrator_uptime_seconds", "Since this process started.", registry=registry).set_function(
            lambda: time.monotonic() - started
        )
        self._known: set[str] = set()
        for server in (*servers, UNKNOWN):
            self.know(server)

    def know(self, server: str) -> None:
        """Make the children of a server's metrics, unless there are some."""
        if server in self._known:
            return
        self._known.add(server)
        self._duration.labels(server)
        for error_type in (*(set(ErrorCode) - OF_ADMIN), TOOL_ERROR, CANCELLED):
            self._errors.labels(server, str(error_type))

    def count(self, server: str | None, seconds: float, error_type: str | None) -> None:
        """Count one finished query; `error_type` None is success. A server not known by then is `unknown`."""
        label = server if server in self._known and server is not None else UNKNOWN
        self._duration.labels(label).observe(seconds)
        if error_type is not None:
            self._errors.labels(label, error_type).inc()
