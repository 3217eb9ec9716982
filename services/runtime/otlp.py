"""Spans of OpenTelemetry, sent over OTLP/HTTP from a thread of their own: the one home of its SDK."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from types import TracebackType
from typing import Final, Self

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bus_schemas.errors import ERRORS, ErrorCode
from services.runtime.errors import QueryError
from services.runtime.tracing import Attribute, TraceContext

log = logging.getLogger(__name__)

_MOST_WAITING: Final = 2048
"""Spans that are not sent yet; beyond it the oldest are dropped."""
_SEND_TIMEOUT_S: Final = 5.0
_LAST_WORDS_S: Final = 2.0
_PATH: Final = "/v1/traces"

# Where OpenTelemetry has a name of its own for what we tell.
_NAMES: Final = {"error": "error.type", "method": "mcp.method.name", "tool": "gen_ai.tool.name"}
_FAULTS: Final = frozenset(code.value for code in ErrorCode if ERRORS[code].status >= 500)


class _RecordedSpan:
    """A span that will be sent if its trace is sampled; see `tracing.Span`."""

    __slots__ = ("_span", "_tracer", "trace")

    def __init__(self, tracer: otel.Tracer, span: otel.Span, tracestate: str | None) -> None:
        self._tracer = tracer
        self._span = span
        ids = span.get_span_context()
        self.trace = TraceContext(f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}", tracestate)

    def child(self, name: str, **attributes: Attribute) -> "_RecordedSpan":
        parent = otel.set_span_in_context(self._span, Context())
        span = self._tracer.start_span(name, parent, otel.SpanKind.CLIENT, _named(attributes))
        return _RecordedSpan(self._tracer, span, self.trace.tracestate)

    def note(self, **attributes: Attribute) -> None:
        self._span.set_attributes(_named(attributes))

    def fail(self, code: str) -> None:
        self.note(error=code)
        if code in _FAULTS:
            self._span.set_status(otel.StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(_code_of(error))
        self.end()


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {_NAMES.get(name, f"busbar.{name}"): value for name, value in attributes.items()}


def _code_of(error: BaseException) -> str:
    if isinstance(error, QueryError):
        return error.code.value
    return "cancelled" if isinstance(error, asyncio.CancelledError) else ErrorCode.INTERNAL.value


class _OtlpTracer:
    """See `tracing.Tracer`."""

    def __init__(self, tracer: otel.Tracer) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def span(self, name: str, trace: TraceContext, **attributes: Attribute) -> _RecordedSpan:
        carrier = {key: value for key, value in trace._asdict().items() if value is not None}
        parent = self._propagator.extract(carrier, Context())
        span = self._tracer.start_span(name, parent, otel.SpanKind.SERVER, _named(attributes))
        return _RecordedSpan(self._tracer, span, trace.tracestate)


class _Exporter(SpanExporter):
    """Says once that the collector is away, and once that it is back; what it does not take is dropped."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            log.warning("collector takes no traces, they are dropped")
        elif self._is_away and not is_away:
            log.info("collector takes traces again")
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


@asynccontextmanager
async def exporting(url: str, *, service: str, instance: str) -> AsyncIterator[_OtlpTracer]:
    """Yield a tracer whose spans go to the collector at `url`, its base or the whole of it; see `open_tracing`."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line for every attempt
    release = version("busbar")
    resource = {
        "service.namespace": "busbar",
        "service.name": f"busbar-{service}",
        "service.version": release,
        "service.instance.id": instance,
    }
    endpoint = url if url.endswith(_PATH) else url.rstrip("/") + _PATH
    exporter = _Exporter(OTLPSpanExporter(endpoint, timeout=_SEND_TIMEOUT_S))
    provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_MOST_WAITING))
    try:
        yield _OtlpTracer(provider.get_tracer("busbar", release))
    finally:
        await _shut_down(provider)


async def _shut_down(provider: TracerProvider) -> None:
    """Send what is left. The SDK's own patience is half a minute, and its thread ends with the process anyway."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop has ended without us
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=shut_down, name="last-traces", daemon=True).start()
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await over.wait()
    except TimeoutError:
        log.warning("last traces are dropped")
