"""Histograms that cost a query next to nothing: no locks, since whoever measures and whoever scrapes share a loop."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

DURATION_BUCKETS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""From a millisecond to the longest deadline, with an edge wherever an objective may lie."""


class Distribution:
    """What one set of labels has counted."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count nothing yet; `bounds` are upper ones, ascending, the infinite one left out."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.exemplars: dict[int, Exemplar] = {}
        self.total = 0.0

    def observe(self, value: float, trace_id: str | None = None) -> None:
        """Count a value; `trace_id` leads from its bucket to the trace of the latest one that had any."""
        bucket = bisect_left(self._bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if trace_id is not None:
            self.exemplars[bucket] = Exemplar({"trace_id": trace_id}, value, time.time())


class Histogram(Collector):
    """A family of distributions that differ in their labels; its text is that of prometheus_client's own."""

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        buckets: Sequence[float] = DURATION_BUCKETS_S,
    ) -> None:
        """Register the family.

        Args:
            name: of it, with its unit.
            meaning: a sentence for whoever reads /metrics.
            labels: their names.
            registry: of this process.
            buckets: upper bounds, ascending, the infinite one left out.
        """
        self._name = name
        self._meaning = meaning
        self._labels = labels
        self._buckets = buckets
        self._bounds = [*map(floatToGoString, buckets), "+Inf"]
        self._children: dict[tuple[str, ...], Distribution] = {}
        registry.register(self)

    def of(self, *labels: str) -> Distribution:
        """Return the distribution of these labels, which exists from now on."""
        return self._children.setdefault(labels, Distribution(self._buckets))

    def describe(self) -> Iterable[HistogramMetricFamily]:
        yield HistogramMetricFamily(self._name, self._meaning, labels=self._labels)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, child in self._children.items():
            below = 0
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for index, (bound, count) in enumerate(zip(self._bounds, child.counts, strict=True)):
                below += count
                exemplar = child.exemplars.get(index)
                buckets.append((bound, below) if exemplar is None else (bound, below, exemplar))
            family.add_metric(labels, buckets, child.total)
        yield family
