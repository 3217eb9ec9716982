"""What an operator sees of breakers. Labels take names of servers and versions that workers announce, nothing else."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from bus_schemas.breakers import BreakerState

LEVELS: Final = {
    BreakerState.CLOSED: 0,
    BreakerState.OPEN: 1,
    BreakerState.HALF_OPEN: 2,
    BreakerState.ISOLATED: 3,
}


class BreakerMetrics:
    """The state of each breaker, how often it changed, and what it refused."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        breaker = ("server", "version")
        self._state = Gauge(
            "mcp_circuit_breaker_state",
            "0: closed, 1: open, 2: half-open, 3: isolated by an operator.",
            breaker,
            registry=registry,
        )
        self._transitions = Counter(
            "mcp_circuit_breaker_transitions_total",
            "Changes of a breaker, whoever made them, by what it is since.",
            [*breaker, "state"],
            registry=registry,
        )
        self._refused = Counter(
            "mcp_circuit_breaker_refused_total", "Calls that a breaker did not let through.", breaker, registry=registry
        )

    def know(self, server: str, version: str, state: Callable[[], BreakerState]) -> None:
        """Make the children of a breaker's metrics; `state` is read whenever somebody scrapes."""
        self._state.labels(server, version).set_function(lambda: LEVELS[state()])
        for to in BreakerState:
            self._transitions.labels(server, version, to.value)
        self._refused.labels(server, version)

    def changed(self, server: str, version: str, state: BreakerState) -> None:
        """Count that a breaker that is known has changed to `state`."""
        self._transitions.labels(server, version, state.value).inc()

    def refused(self, server: str, version: str) -> None:
        """Count a call that was not let through."""
        self._refused.labels(server, version).inc()
