"""The query log: one JSON line a query, on stdout. No arguments, no results, no name that only the caller knows."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from prometheus_client import CollectorRegistry

from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.context import Context, Course
from services.runtime.line_stream import open_line_stream
from services.runtime.metrics import CountedElsewhere

QueryLogLevel = Literal["off", "errors", "slow", "all"]
"""Each has what the one before it has: `errors` those that failed, `slow` also those that took long."""

OK: Final = "ok"
_STDOUT: Final = 1
_LINES_PER_S: Final = 20
"""Of one code; a flood of refusals must fill no disk, and bury no line about anything else."""


@dataclass(slots=True)
class _Second:
    """The lines of one code in one second."""

    began_at: float
    written: int = 0
    skipped: int = 0
    """Since the last line that was written."""


class QueryLog:
    """Decides which queries get a line, and writes it."""

    def __init__(
        self,
        level: QueryLogLevel,
        *,
        slow_s: float,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what `OrchestratorSettings` says, and where lines go."""
        self._level = level
        self._slow_s = slow_s
        self._write = write
        self._clock = clock
        self._seconds: dict[str, _Second] = {}
        self.skipped = 0
        """Lines that were left out of a flood."""

    def wants(self, elapsed_s: float, error_type: str | None) -> bool:
        """Whether a query gets a line, unless too many fail alike."""
        if self._level == "off":
            return False
        is_slow = self._level == "slow" and elapsed_s >= self._slow_s
        return self._level == "all" or error_type is not None or is_slow

    def answered(
        self, context: Context, course: Course, *, server: str, name: str | None, elapsed_s: float, code: str
    ) -> None:
        """Write of a query that came as far as `QueryService.answer`.

        Args:
            context: what came with it.
            course: how far it came.
            server: a known one, or `unknown`.
            name: of the tool or prompt, as its server lists it; see `listed_name`.
            elapsed_s: how long it took.
            code: "ok", or what counts as its error in the metrics.
        """
        kind = "prompt" if course.query is not None and course.query.prompt is not None else "tool"
        self._line(
            context.request_id,
            code,
            elapsed_s,
            key=context.principal.id,
            server=server,
            **{kind: name},
            cache=course.cache.value,
            attempts=course.attempts,
            trace=course.span.trace.trace_id,
        )

    def refused(self, request_id: str, *, elapsed_s: float, code: str) -> None:
        """Write of a query that did not come so far: nobody knows whose it was, or for which server."""
        self._line(request_id, code, elapsed_s)

    def _line(self, request_id: str, code: str, elapsed_s: float, **fields: str | int | None) -> None:
        skipped = 0
        if code != OK:
            second = self._second(code)
            if second.written >= _LINES_PER_S:
                second.skipped += 1
                self.skipped += 1
                return
            second.written += 1
            skipped, second.skipped = second.skipped, 0
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": "query",
            "id": request_id,
            "code": code,
            "ms": round(elapsed_s * 1000, 3),
            **{name: value for name, value in fields.items() if value is not None},
            **({"skipped": skipped} if skipped else {}),
        }
        # ASCII alone: names of tools are their server's word, and may hold what a terminal takes for an order.
        self._write(json.dumps(line))

    def _second(self, code: str) -> _Second:
        now = self._clock()
        second = self._seconds.setdefault(code, _Second(now))
        if now - second.began_at >= 1:
            second.began_at, second.written = now, 0
        return second


NO_LOG: Final = QueryLog("off", slow_s=0, write=lambda _: None)


@asynccontextmanager
async def open_query_log(
    level: QueryLogLevel, registry: CollectorRegistry, *, slow_ms: float
) -> AsyncIterator[QueryLog]:
    """Yield the log that the settings ask for; what is left is written in the end."""
    if level == "off":
        yield NO_LOG
        return
    async with open_line_stream(_STDOUT) as stream:
        log = QueryLog(level, slow_s=slow_ms / 1000, write=stream.write)
        CountedElsewhere(
            "mcp_query_log_dropped_total",
            "Lines left out of the query log: too many failed alike, or nobody took them.",
            lambda: log.skipped + stream.dropped,
            registry=registry,
        )
        yield log


def listed_name(catalogue: CatalogueView, course: Course) -> str | None:
    """Return the name of the tool or prompt, if its server lists it; else it is a caller's text, as a URI is."""
    query = course.query
    if query is None or query.resource is not None or course.server is None:
        return None
    live = catalogue.live(course.server) or catalogue.former(course.server)
    if live is None or not any(version.offer.offers(query) for version in live.versions.values()):
        return None
    return query.tool or query.prompt
