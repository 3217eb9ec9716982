"""Delivers the outcome of a call: in one message, or in chunks on the second connection."""

import asyncio
import time
from contextlib import suppress

from bus_schemas.calls import ErrorHeaders, Headers, ResultHeaders, accepted_headers, progress_headers
from bus_schemas.inboxes import bulk_inbox
from services.runtime.bus import Bus, BusAwayError
from services.runtime.bus.chunks import INLINE_BYTES, cut
from services.runtime.bus.connection import MessageTooLargeError
from services.runtime.errors import QueryError, ResultTooLargeError
from services.worker.execution import Executed
from services.worker.returns import Outgoing, Returns

_LARGE_RESULTS_AT_ONCE = 2


class Replies:
    """Publishes replies until they are taken or nobody waits for them any more."""

    def __init__(self, bus: Bus, bulk: Bus, returns: Returns, *, instance: str) -> None:
        """Take the connection for replies, the one for large results, and what sends again what comes back."""
        self._bus = bus
        self._bulk = bulk
        self._returns = returns
        self._instance = instance
        self._large = asyncio.Semaphore(_LARGE_RESULTS_AT_ONCE)

    async def accepted(self, to: str) -> None:
        """Tell who holds the call; not worth waiting for."""
        with suppress(BusAwayError):
            await self._bus.publish(to, b"", headers=accepted_headers(self._instance))

    async def progress(self, to: str, params: bytes) -> None:
        """Tell how far a call has come; not worth waiting for."""
        with suppress(BusAwayError, MessageTooLargeError):
            await self._bus.publish(to, params, headers=progress_headers(self._instance))

    async def result(self, to: str, executed: Executed, deadline: float) -> None:
        """Deliver a result by `deadline` (of time.monotonic()), or give it up."""
        told = ResultHeaders(self._instance, executed.upstream_us, executed.queue_us)
        if len(executed.result) <= INLINE_BYTES:
            await self._deliver(self._bus, to, told.encode(), executed.result, deadline)
            return
        async with self._large:
            for headers, part in cut(executed.result, told):
                if time.monotonic() >= deadline:
                    return
                await self._deliver(self._bulk, bulk_inbox(to), headers.encode(), part, deadline)
                with suppress(BusAwayError):
                    # One part after another: a large result must not fill the server's buffers.
                    await self._bulk.fence()

    async def refusal(self, to: str, error: QueryError, deadline: float) -> None:
        """Deliver why there is no result."""
        headers = ErrorHeaders(self._instance, error.code, error.executed).encode()
        await self._deliver(self._bus, to, headers, error.mcp_error or b"", deadline)

    async def settle(self) -> None:
        """Return when every reply has been taken or given up."""
        await self._returns.settle()

    async def _deliver(self, bus: Bus, to: str, headers: Headers, body: bytes, deadline: float) -> None:
        try:
            await self._returns.send(Outgoing(bus, to, headers, body, deadline))
        except MessageTooLargeError:
            too_large = ErrorHeaders(self._instance, ResultTooLargeError.code, "maybe").encode()
            await self._returns.send(Outgoing(bus, to, too_large, b"", deadline))
