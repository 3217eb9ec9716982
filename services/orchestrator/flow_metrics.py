"""What an operator sees of load: what is in flight, what is held in memory, what is sent again."""

from collections.abc import Callable, Iterable
from functools import partial
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
        self._at_server: Callable[[str], float] = lambda _: 0
        for reason in _REASONS:
            self._sent_again.labels(reason.value)

    def watch(
        self,
        *,
        in_flight: Callable[[], float],
        held_bytes: Callable[[], float],
        at_server: Callable[[str], float],
    ) -> None:
        """Read these whenever somebody scrapes; the last of each server that is known."""
        self._in_flight.set_function(in_flight)
        self._held.set_function(held_bytes)
        self._at_server = at_server

    def know_all(self, servers: Iterable[str]) -> None:
        """Make the children of these servers' metrics, unless there are some."""
        for server in servers:
            self._of_server.labels(server).set_function(partial(self._waiting_at, server))

    def sent_again(self, reason: ErrorCode) -> None:
        """Count a call that follows another of the same query."""
        self._sent_again.labels(reason.value).inc()

    def budget_exhausted(self) -> None:
        """Count a query whose lost call is not sent again for the sake of the servers."""
        self._exhausted.inc()

    def _waiting_at(self, server: str) -> float:
        return self._at_server(server)
