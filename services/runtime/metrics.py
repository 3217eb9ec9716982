"""/metrics: one registry a process, as Prometheus text, or as OpenMetrics where it is asked for."""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

MEDIA_TYPES: Final = ("text/plain", "application/openmetrics-text")


def new_registry() -> CollectorRegistry:
    """A registry with the process's own metrics (memory, CPU, descriptors, garbage collections) and its release."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge("busbar_build_info", "1, and which release runs.", ["version"], registry=registry)
    build.labels(version("busbar")).set(1)
    return registry


class CountedElsewhere(Collector):
    """A counter whose number somebody else keeps: read whenever somebody scrapes."""

    def __init__(
        self,
        name: str,
        meaning: str,
        value: Callable[[], float],
        *,
        registry: CollectorRegistry,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Register the counter.

        Args:
            name: of it; ends with `_total`.
            meaning: a sentence for whoever reads /metrics.
            value: never less than it was before.
            registry: of this process.
            labels: of its only series.
        """
        self._name = name
        self._meaning = meaning
        self._value = value
        self._labels = labels or {}
        registry.register(self)

    def describe(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._meaning, labels=list(self._labels))

    def collect(self) -> Iterable[CounterMetricFamily]:
        (family,) = self.describe()
        family.add_metric(list(self._labels.values()), self._value())
        yield family


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the exposition and its content type for an Accept header."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
