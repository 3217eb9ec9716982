"""Delivers the outcome of a call: in one message, or in chunks on the second connection."""

import asyncio
import time
from contextlib import suppress

from bus_schemas.calls import (
    ErrorHeaders,
    Headers,
    ResultHeaders,
    accepted_headers,
    ask_headers,
    log_headers,
    progress_headers,
)
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

    def __init__(self, bus: Bus, bulk: Bus, returns: Returns, *, instance: str, most_undelivered_bytes: int) -> None:
        """Take the connections, and the bound.

        Args:
            bus: the connection for replies.
            bulk: the one for large results.
            returns: sends again what comes back.
            instance: this worker.
            most_undelivered_bytes: of results that are not delivered for certain; while there are more, no call is to
                begin.
        """
        self._bus = bus
        self._bulk = bulk
        self._returns = returns
        self._instance = instance
        self._most_undelivered_bytes = most_undelivered_bytes
        self._large = asyncio.Semaphore(_LARGE_RESULTS_AT_ONCE)
        self._waiting_bytes = 0

    @property
    def undelivered_bytes(self) -> int:
        """Of results that wait to be delivered, or may have to be delivered once more."""
        return self._waiting_bytes + self._returns.held_bytes

    def have_room(self) -> bool:
        """Whether one more result may come. Those of calls that run already find their place in any case."""
        return self.undelivered_bytes < self._most_undelivered_bytes

    async def accepted(self, to: str) -> None:
        """Tell who holds the call; not worth waiting for."""
        with suppress(BusAwayError):
            await self._bus.publish(to, b"", headers=accepted_headers(self._instance))

    async def progress(self, to: str, params: bytes) -> None:
        """Tell how far a call has come; not worth waiting for."""
        with suppress(BusAwayError, MessageTooLargeError):
            await self._bus.publish(to, params, headers=progress_headers(self._instance))

    async def log(self, to: str, params: bytes) -> None:
        """Tell what the server logs; not worth waiting for."""
        with suppress(BusAwayError, MessageTooLargeError):
            await self._bus.publish(to, params, headers=log_headers(self._instance))

    async def ask(self, to: str, ask_id: str, request: bytes) -> None:
        """Tell what the server asks of the client; if that is lost, nobody answers."""
        with suppress(BusAwayError, MessageTooLargeError):
            await self._bus.publish(to, request, headers=ask_headers(self._instance, ask_id))

    async def result(self, to: str, executed: Executed, deadline: float) -> None:
        """Deliver a result by `deadline` (of time.monotonic()), or give it up."""
        self._waiting_bytes += len(executed.result)
        try:
            await self._deliver_result(to, executed, deadline)
        finally:
            self._waiting_bytes -= len(executed.result)

    async def refusal(self, to: str, error: QueryError, deadline: float) -> None:
        """Deliver why there is no result."""
        headers = ErrorHeaders(self._instance, error.code, error.executed).encode()
        await self._deliver(self._bus, to, headers, error.mcp_error or b"", deadline)

    async def settle(self) -> None:
        """Return when every reply has been taken or given up."""
        await self._returns.settle()

    async def _deliver_result(self, to: str, executed: Executed, deadline: float) -> None:
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

    async def _deliver(self, bus: Bus, to: str, headers: Headers, body: bytes, deadline: float) -> None:
        try:
            await self._returns.send(Outgoing(bus, to, headers, body, deadline))
        except MessageTooLargeError:
            too_large = ErrorHeaders(self._instance, ResultTooLargeError.code, "maybe").encode()
            await self._returns.send(Outgoing(bus, to, too_large, b"", deadline))
