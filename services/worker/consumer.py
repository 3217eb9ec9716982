"""Takes calls off the bus, keeps those in flight, and answers each of them exactly once."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import msgspec

from bus_schemas import subjects
from bus_schemas.calls import CallHeaders, CancelCall
from bus_schemas.control import AnswerAsked
from services.runtime.bus import Bus, BusMessage, Subscription
from services.runtime.bus.discovery import EndpointStats
from services.runtime.clocks import SenderClocks, sender_of
from services.runtime.errors import InternalError, NoWorkerError, QueryError, UpstreamError
from services.worker.asks import Asks
from services.worker.execution import Executed, Execution
from services.worker.log_messages import telling_log
from services.worker.mcp.session import Ask, Hearing
from services.worker.progress import telling_progress
from services.worker.replies import Replies

log = logging.getLogger(__name__)

_ACCEPT_AFTER_S = 0.1
"""A call that takes longer is acknowledged, so that its orchestrator knows who holds it if we die."""


class _Flight(msgspec.Struct, eq=False):
    """A call that this worker holds."""

    headers: CallHeaders
    reply_to: str
    deadline: float
    taken_at: float
    is_accepted: bool = False
    task: asyncio.Task[None] | None = None


class CallConsumer:
    """The worker's end of `mcp.v1.call.<server>.<version>`, and of the subject below it that is its own.

    Every message becomes a task where it is read, so that none is dropped in the client library's buffer, and the
    slots decide what runs, waits or is refused.
    """

    def __init__(
        self, bus: Bus, execution: Execution, replies: Replies, *, server: str, version: str, instance: str
    ) -> None:
        self._bus = bus
        self._execution = execution
        self._replies = replies
        self._asks = Asks()
        self._server = server
        self._version = version
        self._instance = instance
        self.clocks = SenderClocks(time.time)
        self._flights: dict[tuple[str, int], _Flight] = {}
        self._refusing: set[asyncio.Task[None]] = set()
        self._shared: Subscription | None = None
        self._own: Subscription | None = None
        self._held = asyncio.Event()
        self.stats = EndpointStats()

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def is_consuming(self) -> bool:
        return self._shared is not None

    async def open(self) -> None:
        """Take calls from now on. Raises BusAwayError, or BusDeniedError where permissions forbid it."""
        server, version = self._server, self._version
        if self._own is None:
            own = subjects.call_instance(server, version, self._instance)
            self._own = await self._bus.receive(own, self._take)
        if self._shared is None:
            self._shared = await self._bus.receive(
                subjects.call(server, version), self._take, queue=subjects.call_queue(server, version)
            )

    async def withdraw(self) -> None:
        """Take no more calls that another worker can answer: of those that none other can, some may still succeed."""
        if self._shared is not None:
            shared, self._shared = self._shared, None
            await shared.drain()

    async def close(self) -> None:
        """Take no more calls; those that came until then are in flight when this returns."""
        await self.withdraw()
        if self._own is not None:
            own, self._own = self._own, None
            await own.drain()

    async def finish(self, longest_s: float) -> None:
        """Return when nothing is in flight any more: at the latest deadline, or after `longest_s` seconds.

        What is left then is cancelled, and answered as a call whose outcome is unknown.
        """
        if self._flights:
            await self._finish_flights(longest_s)
        await self._replies.settle()

    async def _finish_flights(self, longest_s: float) -> None:
        tasks = [task for flight in self._flights.values() if (task := flight.task) is not None]
        latest = max(flight.deadline for flight in self._flights.values())
        patience_s = min(longest_s, latest - time.monotonic() + 1)
        _, late = await asyncio.wait(tasks, timeout=max(0.0, patience_s))
        for task in late:
            task.cancel()
        if late:
            log.warning("calls cut off at the end of the drain", extra={"calls": len(late)})
            await asyncio.wait(late, timeout=1)

    async def take_cancel(self, message: BusMessage) -> None:
        """Stop a call whose caller has gone away."""
        try:
            cancel = CancelCall.model_validate_json(message.data)
        except ValueError:
            return
        flight = self._flights.get((cancel.request_id, cancel.attempt))
        if flight is not None and flight.task is not None:
            flight.task.cancel()

    def take_answer(self, order: AnswerAsked) -> None:
        """Take the client's answer to what the server has asked during a call."""
        self._asks.answer(order)

    async def acknowledge_held(self) -> None:
        """Tell who holds a call, for calls that take more than a moment; one sweep for all, no timer for each."""
        now = time.monotonic
        while True:
            await self._held.wait()
            self._held.clear()
            await asyncio.sleep(_ACCEPT_AFTER_S)
            is_due_again = False
            for flight in list(self._flights.values()):
                if flight.is_accepted:
                    continue
                if now() - flight.taken_at < _ACCEPT_AFTER_S:
                    is_due_again = True
                    continue
                if not self._bus.connected:
                    is_due_again = True
                    break
                await self._replies.accepted(flight.reply_to)
                flight.is_accepted = True
            if is_due_again:
                self._held.set()

    def _take(self, message: BusMessage) -> None:
        if not message.reply:
            return  # nobody waits for it: not a call of ours
        try:
            headers = CallHeaders.decode(message.headers or {})
        except ValueError:
            log.warning("call is malformed")
            refusing = asyncio.create_task(self._replies.refusal(message.reply, NoWorkerError(), time.monotonic()))
            self._refusing.add(refusing)
            refusing.add_done_callback(self._refusing.discard)
            return
        now = time.monotonic()
        delay_s = self.clocks.delay_s(sender_of(message.reply), headers.sent_at_ms / 1000)
        flight = _Flight(headers, message.reply, now + headers.timeout_ms / 1000 - delay_s, now)
        key = headers.request_id, headers.attempt
        self._flights[key] = flight
        self._held.set()
        flight.task = task = asyncio.get_running_loop().create_task(self._answer(flight, message.data))
        # Not in the task: one that is cancelled before its first step never runs.
        task.add_done_callback(lambda _: self._flights.pop(key, None))

    async def _answer(self, flight: _Flight, body: bytes) -> None:
        began_ns = time.perf_counter_ns()
        self.stats.requests += 1
        try:
            executed = await self._execute(flight, body)
            await self._replies.result(flight.reply_to, executed, flight.deadline)
        except QueryError as error:
            await self._refuse(flight, error)
        except asyncio.CancelledError:
            # Nobody waits any more, or the drain is over; if somebody does, the outcome is unknown.
            await self._refuse(flight, UpstreamError())
            raise
        except Exception:
            log.exception("call failed")
            await self._refuse(flight, InternalError())
        finally:
            self.stats.processing_ns += time.perf_counter_ns() - began_ns

    async def _execute(self, flight: _Flight, body: bytes) -> Executed:
        headers = flight.headers
        if not headers.wants_progress and headers.log_level is None and headers.client_capabilities is None:
            return await self._execution.run(body, flight.headers, flight.deadline)
        async with self._relaying(flight) as hearing:
            return await self._execution.run(body, flight.headers, flight.deadline, hearing)

    @asynccontextmanager
    async def _relaying(self, flight: _Flight) -> AsyncIterator[Hearing]:
        """Tell the sender of a call what it wants to know meanwhile."""
        progress = log_message = None
        async with AsyncExitStack() as stack:
            if flight.headers.wants_progress:
                tell = partial(self._replies.progress, flight.reply_to)
                progress = await stack.enter_async_context(telling_progress(tell))
            if flight.headers.log_level is not None:
                tell = partial(self._replies.log, flight.reply_to)
                log_message = await stack.enter_async_context(telling_log(tell, flight.headers.log_level))
            yield Hearing(progress, log_message, self._asking(flight))

    def _asking(self, flight: _Flight) -> Ask | None:
        """Return what asks the client of a call, if it can be asked anything."""
        if flight.headers.client_capabilities is None:
            return None
        tell = partial(self._replies.ask, flight.reply_to)
        return lambda method, params: self._asks.ask(tell, flight.deadline - time.monotonic(), method, params)

    async def _refuse(self, flight: _Flight, error: QueryError) -> None:
        self.stats.errors += 1
        self.stats.last_error = error.code.value
        await self._replies.refusal(flight.reply_to, error, flight.deadline)
