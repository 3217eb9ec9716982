"""NATS: `mcp.v1.query` → query. The same JSON as over HTTP, the same answers, the status in a header."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from bus_schemas import envelope, subjects
from bus_schemas.envelope import Kind
from bus_schemas.errors import FieldError
from bus_schemas.header_numbers import read_number
from bus_schemas.queries import MAX_TIMEOUT_MS
from services.orchestrator.admission import Admission
from services.orchestrator.context import Context
from services.orchestrator.forwarding import HeaderValues
from services.orchestrator.query import QueryService, Reply
from services.orchestrator.tracing import trace_context
from services.runtime.auth.principals import Principal
from services.runtime.bus import Bus, BusAwayError, BusMessage
from services.runtime.bus.connection import MessageTooLargeError
from services.runtime.clocks import SenderClock, SenderClocks, sender_of
from services.runtime.errors import InvalidRequestError, QueryError, ResultTooLargeError
from services.runtime.ids import new_id
from services.runtime.lifecycle import Lifecycle

_LONGEST_S = MAX_TIMEOUT_MS / 1000
"""More than that no query waits; and what somebody made up must not drown what is measured."""
_HEADERS_BYTES = 1024
"""More than the headers of an answer take; they count towards the largest message."""

Authenticate = Callable[[str | None], Awaitable[Principal]]


class BusApi:
    """Takes queries off the bus; each is a task, so that the bus's callback never waits."""

    def __init__(self, bus: Bus, queries: QueryService, admission: Admission, authenticate: Authenticate) -> None:
        self._bus = bus
        self._queries = queries
        self._admission = admission
        self._authenticate = authenticate
        self._clocks = SenderClocks(time.time)
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, message: BusMessage) -> None:
        task = asyncio.create_task(self._answer(message, time.monotonic()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, longest_s: float) -> None:
        """Return when every query that was taken has been answered, or after `longest_s` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=longest_s)

    async def _answer(self, message: BusMessage, received_at: float) -> None:
        headers = message.headers or {}
        request_id = new_id()
        progress = _ProgressReplies(self._bus, message.reply, request_id) if _wants_progress(message) else None
        with self._admission.holding() as hold:
            hold.add(len(message.data))
            try:
                principal = await self._authenticate(headers.get(envelope.AUTHORIZATION))
                if envelope.SENT_AT in headers:
                    # A query counts from when it would have come if the bus had not held it back.
                    received_at = time.monotonic() - self._delay_s(principal, message.reply, headers[envelope.SENT_AT])
                values, largest = _values_of(headers), self._bus.max_payload - _HEADERS_BYTES
                context = Context(
                    request_id,
                    principal,
                    received_at,
                    trace_context(values),
                    values,
                    largest,
                    headers.get(envelope.IDEMPOTENCY_KEY),
                    on_progress=None if progress is None else progress.take,
                )
                with self._admission.query():
                    reply = await self._queries.answer(message.data, context)
            except QueryError as error:
                reply = self._queries.refuse(error, request_id, received_at)
            hold.add(len(reply.body))
            if progress is not None:
                await progress.finish()
            if not message.reply:
                return
            with suppress(BusAwayError):
                try:
                    await self._send(message.reply, reply)
                except MessageTooLargeError:  # a problem with a large error object of the server's
                    await self._send(message.reply, self._queries.problem(ResultTooLargeError(), request_id))

    def _delay_s(self, principal: Principal, reply_to: str, sent_at: str) -> float:
        """Return how much longer than usual a query was on the bus, in seconds. Raises InvalidRequestError."""
        try:
            sent_at_ms = read_number(sent_at)
        except ValueError as error:
            wrong = FieldError(pointer=f"/headers/{envelope.SENT_AT}", keyword="pattern")
            raise InvalidRequestError(errors=[wrong]) from error
        inbox = sender_of(reply_to)
        if inbox == reply_to:  # of one request alone: there is nothing to compare with, now or later
            delay_s = SenderClock().delay_s(sent_at_ms / 1000, time.time())
        else:
            delay_s = self._clocks.delay_s(f"{principal.id} {inbox}", sent_at_ms / 1000)
        return min(delay_s, _LONGEST_S)

    async def _send(self, subject: str, reply: Reply) -> None:
        headers = {envelope.STATUS: str(reply.status), "content-type": reply.content_type, **reply.headers}
        await self._bus.publish(subject, reply.body, headers=headers)


class _ProgressReplies:
    """Tells a caller of the progress of its query: one message after another, and all before the answer."""

    def __init__(self, bus: Bus, to: str, request_id: str) -> None:
        self._bus = bus
        self._to = to
        self._headers = {envelope.KIND: Kind.PROGRESS.value, envelope.REQUEST_ID: request_id}
        self._last: asyncio.Task[None] | None = None
        self._is_over = False

    def take(self, params: bytes) -> None:
        if not self._is_over:
            self._last = asyncio.create_task(self._send(params, after=self._last))

    async def finish(self) -> None:
        """Return when all is sent; no more is taken."""
        self._is_over = True
        if self._last is not None:
            await self._last

    async def _send(self, params: bytes, *, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await after
        with suppress(BusAwayError, MessageTooLargeError):  # not worth waiting for
            await self._bus.publish(self._to, params, headers=self._headers)


def _wants_progress(message: BusMessage) -> bool:
    return bool(message.reply) and (message.headers or {}).get(envelope.PROGRESS) == "1"


def _values_of(headers: Mapping[str, str]) -> HeaderValues:
    return lambda name: [headers[name]] if name in headers else []


@asynccontextmanager
async def serving_bus_queries(api: BusApi, bus: Bus, life: Lifecycle, *, drain_s: float) -> AsyncIterator[None]:
    """Take queries until the process is to end; leaving the context answers all that came.

    Nothing needs to be announced first, as it is over HTTP: without our interest the others of the queue group get
    the next query. So both ways in end at the same time.
    """
    subscription = await bus.subscribe(subjects.QUERY, api.take, queue=subjects.QUERY_QUEUE)

    async def take_no_more() -> None:
        await life.stopping.wait()
        await subscription.drain()

    life.start(take_no_more(), name="bus-queries-end")
    try:
        yield
    finally:
        await subscription.drain()
        await api.finish(drain_s)
