"""The weights in force, as an operator sees them. Labels take names of servers and versions of rollouts alone."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.runtime.rollouts import RolloutWords


class RolloutMetrics(Collector):
    """`mcp_rollout_weight{server, version}`: what rollouts have set, of the newest word on each server alone."""

    def __init__(self, registry: CollectorRegistry, words: RolloutWords) -> None:
        """Register the metric; `words` is read whenever somebody scrapes."""
        self._words = words
        registry.register(self)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = self._family()
        for word in self._words.told():
            for version, percent in word.weights.items():
                family.add_metric((word.server, version), percent)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "mcp_rollout_weight",
            "The share of a server's queries that a rollout has given to a version, in percent.",
            labels=("server", "version"),
        )
