"""How many tools are in quarantine, as an operator sees it. Labels take names of servers alone."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.orchestrator.catalogue import CatalogueView
from services.runtime.config.policy import Policy


class QuarantineMetrics(Collector):
    """`mcp_quarantined_tools{server}`: of each configured server, and of each that lives."""

    def __init__(self, registry: CollectorRegistry, policy: Policy, catalogue: CatalogueView) -> None:
        """Register the metric; the catalogue is read whenever somebody scrapes."""
        self._policy = policy
        self._catalogue = catalogue
        registry.register(self)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = self._family()
        live = self._catalogue.servers()
        for server in sorted({*self._policy.servers, *live}):
            family.add_metric((server,), len(live[server].quarantined) if server in live else 0)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "mcp_quarantined_tools",
            "Tools that are neither listed nor called, since their definitions are not those that were pinned.",
            labels=("server",),
        )
