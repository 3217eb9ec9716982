"""One call: from the message to the MCP server's answer, or to the reason why there is none."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import msgspec

from bus_schemas.calls import CallHeaders
from services.runtime.errors import DeadlinePassedError, InternalError, OverloadedError
from services.worker.mcp.session import ProgressCallback
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
        meta: dict[str, str],
        headers: dict[str, str],
        on_progress: ProgressCallback | None,
    ) -> bytes: ...


UpstreamOf = Callable[[CallHeaders], Upstream]
"""Gives the session for a call: everybody's, or the caller's own. Raises QueryError where there is none."""


class _Request(msgspec.Struct):
    method: str
    params: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Executed:
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
        *,
        timeout_s: float,
        forward_headers: Collection[str] = (),
    ) -> None:
        """Take the sessions, the slots, what remembers the request states that are given out, and the policy.

        Args:
            upstream_of: asked once a call has its slot.
            slots: how many calls run at once.
            states: is shown every result.
            timeout_s: the server's own time limit, in seconds.
            forward_headers: which callers' headers reach it.
        """
        self._upstream_of = upstream_of
        self._slots = slots
        self._states = states
        self._timeout_s = timeout_s
        self._forward_headers = frozenset(forward_headers)

    async def run(
        self, body: bytes, headers: CallHeaders, deadline: float, on_progress: ProgressCallback | None = None
    ) -> Executed:
        """Return the server's result.

        Args:
            body: `{"method": …, "params": {…}}`.
            headers: what travelled beside it.
            deadline: when the caller stops waiting, by time.monotonic().
            on_progress: is called with what the server says of its progress; None: it is not asked to.

        Raises:
            QueryError: why there is no result; its branch says whether the call may have run.
        """
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
            began_ns = time.perf_counter_ns()
            result = await self._upstream_of(headers).request(
                request.method,
                bytes(request.params),
                timeout_s=min(deadline - started, self._timeout_s),
                meta=_trace(headers),
                headers=self._forwarded(headers),
                on_progress=on_progress,
            )
            # Before anybody can have the state: its continuation may come over another orchestrator.
            self._states.note(result)
            return Executed(
                result,
                upstream_us=(time.perf_counter_ns() - began_ns) // 1000,
                queue_us=int((started - arrived) * 1e6),
            )

    def _forwarded(self, headers: CallHeaders) -> dict[str, str]:
        """Our own configuration decides, not the sender's, which may be another release of it."""
        return {name: value for name, value in headers.forwarded.items() if name in self._forward_headers}


def _trace(headers: CallHeaders) -> dict[str, str]:
    if headers.traceparent is None:
        return {}
    if headers.tracestate is None:
        return {"traceparent": headers.traceparent}
    return {"traceparent": headers.traceparent, "tracestate": headers.tracestate}
