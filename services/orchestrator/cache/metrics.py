"""How often an answer was there already."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.histograms import Histogram

_LOOK_UP_BUCKETS_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
"""A look-up is given up after a tenth of a second."""


class CacheMetrics:
    """Counts hits and misses, for Prometheus and for the fleet's statistics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self._hits = Counter(
            "mcp_cache_hits_total", "Answers given without a call of their own, coalesced ones too.", registry=registry
        )
        self._misses = Counter(
            "mcp_cache_misses_total", "Answers that the cache may keep, and that took a call.", registry=registry
        )
        self._memory = Gauge("mcp_cache_memory_bytes", "Answers in this process's memory.", registry=registry)
        self._store = Gauge("mcp_cache_store_up", "1 while the shared store answers, else 0.", registry=registry)
        self.look_ups = Histogram(
            "mcp_cache_lookup_seconds",
            "How long the shared store took to say what it has, failures included.",
            registry=registry,
            buckets=_LOOK_UP_BUCKETS_S,
        ).of()
        self.hits = 0
        self.misses = 0

    def watch(self, *, memory_bytes: Callable[[], float], is_store_up: Callable[[], bool]) -> None:
        """Read these whenever somebody scrapes."""
        self._memory.set_function(memory_bytes)
        self._store.set_function(is_store_up)

    def hit(self) -> None:
        """Count an answer that was there."""
        self.hits += 1
        self._hits.inc()

    def miss(self) -> None:
        """Count one that was not."""
        self.misses += 1
        self._misses.inc()
