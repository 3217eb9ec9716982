"""A query's trace: one span for each hop, within the caller's own trace. Without a collector, contexts only pass."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from pydantic import AliasChoices, Field, SecretStr

from services.runtime.settings import CommonSettings


class TracingSettings(CommonSettings):
    """Where traces go. OpenTelemetry's own OTEL_* variables (headers, sampler, certificates, …) hold, too."""

    otlp_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BUSBAR_OTLP_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="An OTLP/HTTP collector, `http://collector:4318`; without it nothing is traced.",
    )


class TraceContext(NamedTuple):
    """Two headers of W3C Trace Context; without the first there is no second."""

    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace, 32 hexadecimal digits; None: there is no trace."""
        return None if self.traceparent is None else self.traceparent[3:35]

    @property
    def sampled_trace_id(self) -> str | None:
        """The same, if somebody keeps this trace."""
        is_sampled = self.traceparent is not None and int(self.traceparent[53:55], 16) & 1
        return self.trace_id if is_sampled else None


NO_TRACE: Final = TraceContext()

Attribute = str | int | float


class Span(Protocol):
    """One hop of a query; as a context it ends with it, and fails with what leaves it."""

    @property
    def trace(self) -> TraceContext:
        """What travels on, so that the next hop is a child of this one."""

    def child(self, name: str, **attributes: Attribute) -> "Span":
        """Begin a request to the next hop."""

    def note(self, **attributes: Attribute) -> None:
        """Tell more of this hop; never arguments, results or URLs."""

    def fail(self, code: str) -> None:
        """Tell what became of it, if it was no success: a code of `ErrorCode`, or another word of ours."""

    def end(self) -> None:
        """It is over, from now on nothing more is told."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Tracer(Protocol):
    """Begins spans for what others ask of this process."""

    def span(self, name: str, trace: TraceContext, **attributes: Attribute) -> Span:
        """Begin a span; `trace` is what came with the request, which may be malformed."""


class UnrecordedSpan:
    """Nobody keeps it: what came with the request goes on as it is."""

    __slots__ = ("trace",)

    def __init__(self, trace: TraceContext) -> None:
        self.trace = trace

    def child(self, name: str, **attributes: Attribute) -> "UnrecordedSpan":
        return self

    def note(self, **attributes: Attribute) -> None:
        pass

    def fail(self, code: str) -> None:
        pass

    def end(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class NoTracer:
    """Traces nothing."""

    def span(self, name: str, trace: TraceContext, **attributes: Attribute) -> UnrecordedSpan:
        return NO_SPAN if trace is NO_TRACE else UnrecordedSpan(trace)


NO_TRACER: Final = NoTracer()
NO_SPAN: Final = UnrecordedSpan(NO_TRACE)


@asynccontextmanager
async def open_tracing(settings: TracingSettings, *, service: str, instance: str) -> AsyncIterator[Tracer]:
    """Yield what traces; leaving the context sends what is left, for two seconds at most."""
    if settings.otlp_url is None:
        yield NO_TRACER
        return
    # OpenTelemetry's SDK takes its time to import, and its memory: only who wants traces pays for it.
    otlp = import_module("services.runtime.otlp")
    async with otlp.exporting(settings.otlp_url.get_secret_value(), service=service, instance=instance) as tracer:
        yield tracer
