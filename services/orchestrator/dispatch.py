"""One attempt: the call goes out to a queue group, its outcome comes back, or the reason why there is none."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from bus_schemas import envelope, subjects
from bus_schemas.calls import CallHeaders, CancelCall, ChunkHeaders, ErrorHeaders, ResultHeaders
from bus_schemas.envelope import Kind
from bus_schemas.errors import ErrorCode
from bus_schemas.workers import WorkerState
from services.orchestrator.admission import Admission, Hold
from services.orchestrator.tool_errors import is_tool_error
from services.runtime.bus import Bus, BusAwayError, BusMessage, Exchange, Inbox
from services.runtime.bus.chunks import Assembly, DamagedError
from services.runtime.bus.connection import MessageTooLargeError
from services.runtime.bus.inbox import NoRespondersError
from services.runtime.errors import (
    DeadlineExceededError,
    DeadlinePassedError,
    InternalError,
    MaybeExecutedError,
    NoWorkerError,
    OverloadedError,
    PayloadTooLargeError,
    QueryError,
    ResultTooLargeError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.runtime.fleet import HEARTBEAT_INTERVAL_S, Fleet, Report

_MARGIN_S = 0.5
"""A worker that lives has acknowledged a call after this time, or answered it (it does so after 0.1 s)."""

_QUIET_S = 2 * HEARTBEAT_INTERVAL_S
"""A worker that has not been heard for so long may be dead, or cut off from us, and its call with it."""

_NOT_EXECUTED: dict[ErrorCode, type[QueryError]] = {
    error.code: error for error in (NoWorkerError, OverloadedError, DeadlinePassedError)
}
_MAYBE_EXECUTED: dict[ErrorCode, type[QueryError]] = {
    error.code: error
    for error in (DeadlineExceededError, UpstreamError, UpstreamRefusedError, ResultTooLargeError, InternalError)
}


class Call(msgspec.Struct, frozen=True, eq=False):
    """One attempt at a query."""

    server: str
    version: str
    body: bytes
    request_id: str
    attempt: int
    principal: str
    deadline: float
    """By time.monotonic()."""
    is_of_tool: bool = False
    """Whether the result may say `isError`."""
    traceparent: str | None = None
    tracestate: str | None = None
    forwarded: Mapping[str, str] = {}
    instance: str | None = None
    """The only worker that may answer; None: whichever of the version's queue group."""
    session_lost: bool = False
    """See `CallHeaders`."""
    on_progress: Callable[[bytes], None] | None = None
    """Is given each `params` of `notifications/progress` that comes before the outcome, without the token, as the
    server wrote it; must neither wait nor raise. None: the server is not asked for progress."""
    on_log: Callable[[bytes], None] | None = None
    """The same for each `params` of `notifications/message`, from `log_level` on."""
    log_level: str | None = None
    on_ask: Callable[["Asked"], None] | None = None
    """Is given what the server asks of the client, which `client_capabilities` allow; must neither wait nor raise."""
    client_capabilities: str | None = None

    def __repr__(self) -> str:
        return f"Call({self.request_id})"  # not the caller's headers


class Asked(NamedTuple):
    """What a server asks of the client while its call runs, and where the answer goes."""

    server: str
    instance: str
    ask_id: str
    request: bytes
    """JSON: a method and its params."""


class NobodyThereError(NoWorkerError):
    """Nobody takes calls on the subject any more, as opposed to a worker that says that its server is away."""


class WorkerFailedError(UpstreamError):
    """The worker that held the call died, was cut off, or broke our own protocol: nothing is known of the server."""


class UnheardError(DeadlineExceededError):
    """Time ran out while no worker was heard that holds the call: nothing is known of the server."""


class Outcome(msgspec.Struct, frozen=True):
    """The MCP server's result, byte for byte, who gave it, and where the time went."""

    result: bytes
    instance: str
    upstream_us: int
    queue_us: int
    says_error: bool = False
    """Whether the result has `isError`, as that of a tool whose call failed; such a one is never kept."""


class _Flight(msgspec.Struct, eq=False):
    """A call that has been sent and not been answered."""

    call: Call
    exchange: Exchange
    hold: Hold
    """Counts the parts of a large result."""
    sent_at: float
    holder: str | None = None
    is_acknowledged: bool = False
    """Whether the holder has said that it holds it."""


class Dispatcher:
    """Sends calls to workers and waits for their outcome; never longer than the deadline."""

    def __init__(self, bus: Bus, inbox: Inbox, fleet: Fleet, admission: Admission) -> None:
        self._bus = bus
        self._inbox = inbox
        self._fleet = fleet
        self._admission = admission
        self._flights: set[_Flight] = set()
        fleet.on_silence(self._fail_calls_of)

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    async def call(self, call: Call) -> Outcome:
        """Return the outcome of one attempt.

        Raises:
            NotExecutedError: the call certainly never ran.
            MaybeExecutedError: it may have run: the deadline passed, the server died, or its worker did
                (WorkerFailedError). `holder` says which worker had it.
            RefusedError: the server refused it, or its result is too large.
            asyncio.CancelledError: the caller went away; the worker has been told.
        """
        now = time.monotonic()
        remaining_ms = int((call.deadline - now) * 1000)
        if remaining_ms <= 0:
            raise DeadlinePassedError
        headers = CallHeaders(
            request_id=call.request_id,
            timeout_ms=remaining_ms,
            sent_at_ms=time.time_ns() // 1_000_000,
            attempt=call.attempt,
            principal=call.principal,
            traceparent=call.traceparent,
            tracestate=call.tracestate,
            session_lost=call.session_lost,
            forwarded=call.forwarded,
            wants_progress=call.on_progress is not None,
            log_level=None if call.on_log is None else call.log_level,
            client_capabilities=None if call.on_ask is None else call.client_capabilities,
        )
        with self._inbox.expect() as exchange, self._admission.holding() as hold:
            flight = _Flight(call, exchange, hold, now, holder=call.instance)
            self._flights.add(flight)
            passing = asyncio.get_running_loop().call_at(call.deadline, exchange.fail, TimeoutError())
            try:
                await self._send(call, headers, exchange)
                return await _outcome(flight)
            except NoRespondersError as error:
                raise NobodyThereError from error
            except TimeoutError as error:
                await self._cancel(call)
                raise self._timed_out(flight) from error
            except asyncio.CancelledError:
                await self._cancel(call)
                raise
            except MaybeExecutedError as error:
                raise self._blame(error, flight.holder) from error.__cause__
            finally:
                passing.cancel()
                self._flights.discard(flight)

    async def _send(self, call: Call, headers: CallHeaders, exchange: Exchange) -> None:
        if call.instance is None:
            subject = subjects.call(call.server, call.version)
        else:
            subject = subjects.call_instance(call.server, call.version, call.instance)
        told = headers.encode()
        try:
            if not self._bus.publish_at_once(subject, call.body, headers=told, reply=exchange.reply_to):
                async with asyncio.timeout_at(call.deadline):
                    await self._bus.publish(subject, call.body, headers=told, reply=exchange.reply_to)
        except BusAwayError as error:
            raise NoWorkerError from error
        except MessageTooLargeError as error:
            raise PayloadTooLargeError from error

    def _timed_out(self, flight: _Flight) -> DeadlineExceededError:
        if flight.is_acknowledged:
            is_heard = flight.holder is not None and self._fleet.has_heard(flight.holder, within_s=_QUIET_S)
        else:
            is_heard = time.monotonic() - flight.sent_at < _MARGIN_S
        error = DeadlineExceededError() if is_heard and self._bus.connected else UnheardError()
        error.holder = flight.holder
        return error

    def _blame(self, error: MaybeExecutedError, holder: str | None) -> MaybeExecutedError:
        """Return the error with its holder; that of a worker whose drain was over before the call was, as its own."""
        worker = None if holder is None else self._fleet.worker(holder)
        is_draining = worker is not None and worker.report.state is WorkerState.DRAINING
        if is_draining and isinstance(error, UpstreamError):
            error = WorkerFailedError()
        error.holder = holder
        return error

    async def _cancel(self, call: Call) -> None:
        """Tell the workers that nobody waits any more; best effort."""
        try:
            message = CancelCall(request_id=call.request_id, attempt=call.attempt)
            await self._bus.publish(subjects.cancel(call.server), message.encode())
        except BusAwayError:
            return

    def _fail_calls_of(self, silent: Report) -> None:
        """Fail the calls that a worker which fell silent had acknowledged, and those that nobody has: it may hold them.

        A worker that left has answered what it held; its last large result may still be on its way.
        """
        long_ago = time.monotonic() - _MARGIN_S
        for flight in self._flights:
            is_its = (flight.call.server, flight.call.version) == (silent.server, silent.version)
            is_unclaimed = is_its and flight.holder is None and flight.sent_at < long_ago
            if flight.holder == silent.instance or is_unclaimed:
                flight.holder = silent.instance
                flight.exchange.fail(WorkerFailedError())


async def _outcome(flight: _Flight) -> Outcome:
    assembly = Assembly()
    while True:
        reply = await flight.exchange.next()
        try:
            outcome = _read(flight, assembly, reply)
        except (ValueError, DamagedError) as error:
            raise WorkerFailedError from error
        if outcome is not None:
            return outcome


def _read(flight: _Flight, assembly: Assembly, reply: BusMessage) -> Outcome | None:
    """Return the outcome if this reply completes it; a kind that a later release sends beside it is skipped."""
    headers = reply.headers or {}
    match headers.get(envelope.KIND):
        case Kind.RESULT:
            return _finished(flight.call, ResultHeaders.decode(headers), reply.data)
        case Kind.CHUNK:
            part = ChunkHeaders.decode(headers)
            flight.hold.add(len(reply.data))
            result = assembly.add(part, reply.data)
            return None if result is None else _finished(flight.call, part.told, result)
        case Kind.ERROR:
            told = ErrorHeaders.decode(headers)
            flight.holder = told.instance or flight.holder
            raise _error(told, reply.data)
        case Kind.ACCEPTED:
            flight.holder = headers.get(envelope.INSTANCE)
            flight.is_acknowledged = True
        case Kind.PROGRESS if flight.call.on_progress is not None:
            flight.call.on_progress(reply.data)
        case Kind.LOG if flight.call.on_log is not None:
            flight.call.on_log(reply.data)
        case Kind.ASK if flight.call.on_ask is not None:
            instance, ask_id = headers.get(envelope.INSTANCE, ""), headers.get(envelope.ASK_ID, "")
            flight.call.on_ask(Asked(flight.call.server, instance, ask_id, reply.data))
    return None


def _finished(call: Call, told: ResultHeaders, result: bytes) -> Outcome:
    return Outcome(result, told.instance, told.upstream_us, told.queue_us, call.is_of_tool and is_tool_error(result))


def _error(told: ErrorHeaders, mcp_error: bytes) -> QueryError:
    if told.executed == "no":
        return _NOT_EXECUTED.get(told.code, NoWorkerError)()
    if told.code is ErrorCode.UPSTREAM_REFUSED:
        return UpstreamRefusedError(mcp_error=mcp_error or None)
    return _MAYBE_EXECUTED.get(told.code, UpstreamError)()
