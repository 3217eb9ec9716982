"""/metrics: one registry a process, as Prometheus text, or as OpenMetrics where it is asked for."""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

MEDIA_TYPES = ("text/plain", "application/openmetrics-text")


def new_registry() -> CollectorRegistry:
    """A registry with the process's own metrics (memory, CPU, descriptors, garbage collections)."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the exposition and its content type for an Accept header."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
