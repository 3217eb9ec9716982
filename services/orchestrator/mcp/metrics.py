"""What an operator sees of MCP clients. Labels take eras and methods of MCP alone, never a caller's text."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.orchestrator.mcp.lists import LIST_METHODS
from services.orchestrator.mcp.requests import CALL_METHODS

_METHODS: Final = frozenset(
    {*LIST_METHODS, *CALL_METHODS, "initialize", "server/discover", "subscriptions/listen", "ping", "logging/setLevel"}
)
_OTHER: Final = "other"


class FrontMetrics:
    """Counts requests of clients, and the streams on which they listen."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self._requests = Counter(
            "mcp_client_requests_total",
            "Requests of MCP clients, whatever was answered; their calls are queries, too.",
            ["era", "method"],
            registry=registry,
        )
        self._streams = Gauge(
            "mcp_client_streams", "Streams on which MCP clients listen to changes of the lists.", registry=registry
        )
        for era in ("modern", "legacy"):
            self._requests.labels(era, _OTHER)

    def watch(self, streams: Callable[[], float]) -> None:
        """Read this whenever somebody scrapes."""
        self._streams.set_function(streams)

    def requested(self, method: str, *, is_modern: bool) -> None:
        """Count a request."""
        label = method if method in _METHODS else _OTHER
        self._requests.labels("modern" if is_modern else "legacy", label).inc()
