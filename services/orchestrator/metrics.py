"""The customer's metrics of an orchestrator. Labels take names of known servers and codes, never a caller's text."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from bus_schemas.errors import OF_ADMIN, ErrorCode
from services.orchestrator.dispatch import Outcome
from services.runtime.histograms import Distribution, Histogram

UNKNOWN: Final = "unknown"
TOOL_ERROR: Final = "tool_error"
CANCELLED: Final = "cancelled"


class QueryMetrics:
    """Counts every query, answered or not."""

    def __init__(self, registry: CollectorRegistry, servers: Collection[str], *, connected: Callable[[], int]) -> None:
        """Register the metrics, and make the children of known servers, so that ratios exist before the first error.

        Args:
            registry: of this process.
            servers: the configured ones.
            connected: how many servers have a live worker now.
        """
        self._durations = Histogram(
            "mcp_query_duration_seconds", "How long queries took, failures included.", ["server"], registry=registry
        )
        hops = Histogram(
            "mcp_query_hop_seconds",
            "Where the time of answered queries went: for a slot of a worker, at the MCP server, all else.",
            ["hop"],
            registry=registry,
        )
        self._queue, self._upstream, self._busbar = map(hops.of, ("queue", "upstream", "busbar"))
        self._errors = Counter(
            "mcp_query_errors_total", "Queries that failed, by code.", ["server", "error_type"], registry=registry
        )
        Gauge("mcp_servers_connected_total", "Servers with a live worker.", registry=registry).set_function(connected)
        started = time.monotonic()
        Gauge("mcp_orchestrator_uptime_seconds", "Since this process started.", registry=registry).set_function(
            lambda: time.monotonic() - started
        )
        self._known: dict[str, Distribution] = {}
        self.know_all((*servers, UNKNOWN))

    def know_all(self, servers: Iterable[str]) -> None:
        """As `know`, of each of `servers`."""
        for server in servers:
            self.know(server)

    def know(self, server: str) -> None:
        """Make the children of a server's metrics, unless there are some."""
        if server in self._known:
            return
        self._known[server] = self._durations.of(server)
        for error_type in (*(set(ErrorCode) - OF_ADMIN), TOOL_ERROR, CANCELLED):
            self._errors.labels(server, str(error_type))

    def label(self, server: str | None) -> str:
        """Return the name, if it is a server's that is known by now; else it may be a caller's text: `unknown`."""
        return server if server is not None and server in self._known else UNKNOWN

    def count(self, server: str | None, seconds: float, error_type: str | None, trace_id: str | None = None) -> None:
        """Count one finished query.

        Args:
            server: whom it was for, as far as that is known; a name that no server has is `unknown`.
            seconds: how long it took.
            error_type: None is success.
            trace_id: of its trace, if somebody keeps that.
        """
        label = self.label(server)
        self._known[label].observe(seconds, trace_id)
        if error_type is not None:
            self._errors.labels(label, error_type).inc()

    def hops(self, outcome: Outcome, seconds: float) -> None:
        """Count where the time of an answered query went; an answer that was there already took no call."""
        queue_s, upstream_s = outcome.queue_us / 1e6, outcome.upstream_us / 1e6
        if outcome.upstream_us:
            self._queue.observe(queue_s)
            self._upstream.observe(upstream_s)
        self._busbar.observe(max(0.0, seconds - queue_s - upstream_s))
