"""What becomes of a worker's calls, and where their time goes."""

import asyncio
from types import TracebackType
from typing import Final, Self

from prometheus_client import CollectorRegistry, Counter

from bus_schemas.errors import ErrorCode
from services.runtime.errors import QueryError
from services.runtime.histograms import Histogram

_OK: Final = "ok"
_CANCELLED: Final = "cancelled"
_OUTCOMES: Final = (
    _OK,
    _CANCELLED,
    ErrorCode.INTERNAL.value,
    ErrorCode.OVERLOADED.value,
    ErrorCode.RESULT_TOO_LARGE.value,
    ErrorCode.SERVER_UNAVAILABLE.value,
    ErrorCode.TIMEOUT.value,
    ErrorCode.UPSTREAM_ERROR.value,
    ErrorCode.UPSTREAM_REFUSED.value,
)
"""What becomes of calls; these are there before the first one is."""


class CallMetrics:
    """Counts calls; as a context, one call by what becomes of it."""

    def __init__(self, registry: CollectorRegistry, server: str, version: str) -> None:
        """Register the metrics."""
        calls = Counter(
            "mcp_worker_calls_total",
            "Calls by what became of them: ok, cancelled, or a code.",
            ["server", "version", "outcome"],
            registry=registry,
        )
        queue = Histogram(
            "mcp_worker_queue_seconds", "How long calls waited for a slot.", ["server", "version"], registry=registry
        )
        upstream = Histogram(
            "mcp_worker_upstream_seconds",
            "How long the MCP server took, failures included.",
            ["server", "version"],
            registry=registry,
        )
        self._calls = calls
        self._identity = server, version
        self._outcomes = {outcome: calls.labels(*self._identity, outcome) for outcome in _OUTCOMES}
        self.queue = queue.of(server, version)
        self.upstream = upstream.of(server, version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outcome = _outcome(error)
        (self._outcomes.get(outcome) or self._calls.labels(*self._identity, outcome)).inc()


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return _OK
    if isinstance(error, QueryError):
        return error.code.value
    return _CANCELLED if isinstance(error, asyncio.CancelledError) else ErrorCode.INTERNAL.value
