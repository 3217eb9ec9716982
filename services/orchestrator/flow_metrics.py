"""What an operator sees of load: what is in flight, what is held in memory, what is sent again."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from bus_schemas.errors import ErrorCode

_REASONS: Final = (
    ErrorCode.OVERLOADED,
    ErrorCode.SERVER_UNAVAILABLE,
    ErrorCode.CIRCUIT_OPEN,
    ErrorCode.TIMEOUT,
    ErrorCode.UPSTREAM_ERROR,
)


class FlowMetrics:
    """The gauges and counters of back-pressure and of repeated calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self._in_flight = Gauge("mcp_queries_in_flight", "Queries that this process works on.", registry=registry)
        self._of_server = Gauge(
            "mcp_server_queries_in_flight", "Queries that wait for a server's answer.", ["server"], registry=registry
        )
        self._held = Gauge(
            "mcp_held_bytes",
            "Bodies of queries, large results being put together, and answers that callers have not taken yet.",
            registry=registry,
        )
        self._sent_again = Counter(
            "mcp_retries_total",
            "Calls sent after another one of the same query, by what became of that one.",
            ["reason"],
            registry=registry,
        )
        self._exhausted = Counter(
            "mcp_retry_budget_exhausted_total",
            "Queries whose lost call was not sent again because too many others were.",
            registry=registry,
        )
        for reason in _REASONS:
            self._sent_again.labels(reason.value)

    def watch(self, *, in_flight: Callable[[], float], held_bytes: Callable[[], float]) -> None:
        """Read these whenever somebody scrapes."""
        self._in_flight.set_function(in_flight)
        self._held.set_function(held_bytes)

    def know_all(self, servers: Iterable[str]) -> None:
        """Make the children of these servers' metrics, unless there are some."""
        for server in servers:
            self._of_server.labels(server)

    def at_server(self, server: str, count: int) -> None:
        """Note how many queries wait for a server that is known."""
        self._of_server.labels(server).set(count)

    def sent_again(self, reason: ErrorCode) -> None:
        """Count a call that follows another of the same query."""
        self._sent_again.labels(reason.value).inc()

    def budget_exhausted(self) -> None:
        """Count a query whose lost call is not sent again for the sake of the servers."""
        self._exhausted.inc()
