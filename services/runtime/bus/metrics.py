"""What an operator sees of a process's connections to NATS."""

from prometheus_client import CollectorRegistry, Gauge

from services.runtime.bus.connection import Bus
from services.runtime.metrics import CountedElsewhere


class BusMetrics:
    """Read whenever somebody scrapes; a process without a connection is one whose bus is away."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self._buses: tuple[Bus, ...] = ()
        Gauge(
            "mcp_bus_connected", "1 while every connection of this process to NATS is up, else 0.", registry=registry
        ).set_function(lambda: bool(self._buses) and all(bus.connected for bus in self._buses))
        CountedElsewhere(
            "mcp_bus_reconnects_total",
            "Times that a connection of this process to NATS came back.",
            lambda: sum(bus.reconnects for bus in self._buses),
            registry=registry,
        )

    def watch(self, *buses: Bus) -> None:
        """Tell of these connections from now on."""
        self._buses = buses
