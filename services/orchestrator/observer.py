"""What is told of a query once it is over: to the metrics, to the query log, and to its trace."""

import time

from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.context import Context, Course
from services.orchestrator.dispatch import Outcome
from services.orchestrator.metrics import QueryMetrics
from services.orchestrator.query_log import NO_LOG, OK, QueryLog, listed_name
from services.runtime.tracing import NO_TRACER, Tracer


class Observer:
    """Sees each query begin and end."""

    def __init__(
        self, metrics: QueryMetrics, catalogue: CatalogueView, log: QueryLog = NO_LOG, tracer: Tracer = NO_TRACER
    ) -> None:
        self._metrics = metrics
        self._catalogue = catalogue
        self._log = log
        self._tracer = tracer
        self._is_tracing = tracer is not NO_TRACER

    def begin(self, context: Context) -> Course:
        """Return the course of a query that begins."""
        return Course(span=self._tracer.span("query", context.trace))

    def know(self, server: str) -> None:
        """Take the name for a server's from now on."""
        self._metrics.know(server)

    def answered(self, outcome: Outcome, seconds: float) -> None:
        """Tell where the time of a query went that has its answer."""
        self._metrics.hops(outcome, seconds)

    def finished(self, context: Context, course: Course, error_type: str | None) -> None:
        """Tell how a query ended; `error_type` None is success."""
        elapsed_s = time.monotonic() - context.received_at
        self._metrics.count(course.server, elapsed_s, error_type, course.span.trace.sampled_trace_id)
        is_logged = self._log.wants(elapsed_s, error_type)
        if is_logged or self._is_tracing:
            server, name = self._metrics.label(course.server), listed_name(self._catalogue, course)
            self._end_span(course, server, name, error_type)
            if is_logged:
                self._log.answered(
                    context, course, server=server, name=name, elapsed_s=elapsed_s, code=error_type or OK
                )

    def refused(self, request_id: str, received_at: float, code: str) -> None:
        """Tell of a query that was refused before it was read."""
        elapsed_s = time.monotonic() - received_at
        self._metrics.count(None, elapsed_s, code)
        if self._log.wants(elapsed_s, code):
            self._log.refused(request_id, elapsed_s=elapsed_s, code=code)

    def _end_span(self, course: Course, server: str, name: str | None, error_type: str | None) -> None:
        course.span.note(server=server, cache=course.cache, attempts=course.attempts)
        if name is not None:
            course.span.note(tool=name)
        if error_type is not None:
            course.span.fail(error_type)
        course.span.end()
