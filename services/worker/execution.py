"""One call: from the message to the MCP server's answer, or to the reason why there is none."""

import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

import msgspec

from bus_schemas.calls import CallHeaders
from bus_schemas.envelope import TRACEPARENT, TRACESTATE
from services.runtime.errors import DeadlinePassedError, InternalError, OverloadedError
from services.runtime.tracing import Span, TraceContext
from services.worker.call_metrics import CallMetrics
from services.worker.mcp.session import DEAF, Hearing
from services.worker.slots import Slots
from services.worker.states import GivenStates


class Upstream(Protocol):
    """What execution needs of a session with the server."""

    async def request(
        self,
        method: str,
        params: bytes,
        *,
        timeout_s: float,
        meta: dict[str, Any],
        headers: dict[str, str],
        hearing: Hearing,
    ) -> bytes: ...


UpstreamOf = Callable[[CallHeaders], Upstream]
"""Gives the session for a call: everybody's, or the caller's own. Raises QueryError where there is none."""


BeginSpan = Callable[[TraceContext], Span]
"""Begins the span of a call within its trace."""


class _Request(msgspec.Struct):
    method: str
    params: msgspec.Raw
    meta: dict[str, Any] = {}


class Executed(msgspec.Struct, frozen=True):
    """The MCP server's result, byte for byte, and where the time went."""

    result: bytes
    upstream_us: int
    queue_us: int


class Execution:
    """Runs calls against one MCP server, a bounded number at once."""

    def __init__(
        self,
        upstream_of: UpstreamOf,
        slots: Slots,
        states: GivenStates,
        metrics: CallMetrics,
        begin_span: BeginSpan,
        *,
        timeout_s: float,
        forward_headers: Collection[str] = (),
    ) -> None:
        """Take the sessions, the slots, what remembers the request states that are given out, and the policy.

        Args:
            upstream_of: asked once a call has its slot.
            slots: how many calls run at once.
            states: is shown every result.
            metrics: are told what becomes of each call.
            begin_span: begins the trace's part of this worker.
            timeout_s: the server's own time limit, in seconds.
            forward_headers: which callers' headers reach it.
        """
        self._upstream_of = upstream_of
        self._slots = slots
        self._states = states
        self._metrics = metrics
        self._begin_span = begin_span
        self.obey(timeout_s=timeout_s, forward_headers=forward_headers)

    def obey(self, *, timeout_s: float, forward_headers: Collection[str]) -> None:
        """Go by these for the calls that begin from now on."""
        self._timeout_s = timeout_s
        self._forward_headers = frozenset(forward_headers)

    async def run(self, body: bytes, headers: CallHeaders, deadline: float, hearing: Hearing = DEAF) -> Executed:
        """Return the server's result.

        Args:
            body: `{"method": …, "params": {…}}`, and perhaps `"meta": {…}`.
            headers: what travelled beside it.
            deadline: when the caller stops waiting, by time.monotonic().
            hearing: takes what the server says meanwhile.

        Raises:
            QueryError: why there is no result; its branch says whether the call may have run.
        """
        with self._metrics, self._begin_span(TraceContext(headers.traceparent, headers.tracestate)) as span:
            return await self._run(body, headers, deadline, hearing, span)

    async def _run(self, body: bytes, headers: CallHeaders, deadline: float, hearing: Hearing, span: Span) -> Executed:
        try:
            request = msgspec.json.decode(body, type=_Request)
        except msgspec.DecodeError as error:
            raise InternalError from error
        now = time.monotonic
        arrived = now()
        if arrived >= deadline:
            raise DeadlinePassedError
        async with self._slots.hold(deadline):
            started = now()
            if started >= deadline:
                raise OverloadedError
            queue_us = int((started - arrived) * 1e6)
            self._metrics.queue.observe(queue_us / 1e6)
            span.note(queue_us=queue_us)
            began_ns = time.perf_counter_ns()
            try:
                with span.child("upstream", method=request.method) as upstream:
                    result = await self._upstream_of(headers).request(
                        request.method,
                        bytes(request.params),
                        timeout_s=min(deadline - started, self._timeout_s),
                        meta=request.meta | _told(upstream.trace),
                        headers=self._forwarded(headers),
                        hearing=hearing,
                    )
            finally:
                upstream_us = (time.perf_counter_ns() - began_ns) // 1000
                self._metrics.upstream.observe(upstream_us / 1e6)
            # Before anybody can have the state: its continuation may come over another orchestrator.
            self._states.note(result)
            return Executed(result, upstream_us, queue_us)

    def _forwarded(self, headers: CallHeaders) -> dict[str, str]:
        """Our own configuration decides, not the sender's, which may be another release of it."""
        return {name: value for name, value in headers.forwarded.items() if name in self._forward_headers}


def _told(trace: TraceContext) -> dict[str, str]:
    """The trace context as the server finds it in its `_meta`."""
    if trace.traceparent is None:
        return {}
    told = {TRACEPARENT: trace.traceparent}
    return told if trace.tracestate is None else {**told, TRACESTATE: trace.tracestate}
