"""One call: from the message to the MCP server's answer, or to the reason why there is none."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import msgspec

from bus_schemas.calls import CallHeaders
from services.runtime.errors import DeadlinePassedError, InternalError, OverloadedError
from services.worker.slots import Slots


class Upstream(Protocol):
    """What execution needs of the session keeper."""

    async def request(
        self, method: str, params: bytes, *, timeout_s: float, meta: dict[str, str], headers: dict[str, str]
    ) -> bytes: ...


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
        self, upstream: Upstream, slots: Slots, *, timeout_s: float, forward_headers: Collection[str] = ()
    ) -> None:
        """Take the session, the slots, the server's own time limit in seconds, and which callers' headers reach it."""
        self._upstream = upstream
        self._slots = slots
        self._timeout_s = timeout_s
        self._forward_headers = frozenset(forward_headers)

    async def run(self, body: bytes, headers: CallHeaders, deadline: float) -> Executed:
        """Return the server's result.

        Args:
            body: `{"method": …, "params": {…}}`.
            headers: what travelled beside it.
            deadline: when the caller stops waiting, by time.monotonic().

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
            result = await self._upstream.request(
                request.method,
                bytes(request.params),
                timeout_s=min(deadline - started, self._timeout_s),
                meta=_trace(headers),
                headers=self._forwarded(headers),
            )
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
