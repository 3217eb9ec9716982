"""What alerts need to know of the servers: read from the report of the moment, at each scrape."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.health.state import Connected, HealthReport, down_share, is_in_maintenance


class ServerMetrics(Collector):
    """One child for each configured server from the first scrape on; no name comes from anywhere else."""

    def __init__(
        self, registry: CollectorRegistry, *, report: Callable[[], HealthReport], is_bus_up: Callable[[], bool]
    ) -> None:
        """Register the metrics.

        Args:
            registry: of this process.
            report: makes the report of now.
            is_bus_up: whether the bus answers; without it every server counts as down.
        """
        self._report = report
        self._is_bus_up = is_bus_up
        registry.register(self)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return every metric with its values of now."""
        servers = self._report().mcp_servers
        connected = GaugeMetricFamily(
            "mcp_server_connected", "Whether a worker has a working session with the server.", labels=["server"]
        )
        maintenance = GaugeMetricFamily(
            "mcp_server_in_maintenance", "Whether an operator has taken the server out.", labels=["server"]
        )
        for name, server in servers.items():
            connected.add_metric([name], isinstance(server, Connected))
            maintenance.add_metric([name], is_in_maintenance(server))
        return (
            connected,
            maintenance,
            GaugeMetricFamily(
                "mcp_servers_down_ratio",
                "The share of the servers that are disconnected, those in maintenance not counted.",
                value=down_share(servers),
            ),
            GaugeMetricFamily(
                "mcp_health_bus_up", "Whether the bus answers the health service.", value=self._is_bus_up()
            ),
        )
