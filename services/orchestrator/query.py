"""A query, from the body's bytes to the reply's: read, admitted, routed, checked, dispatched, answered."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from bus_schemas import envelope
from bus_schemas.errors import ERRORS, ErrorCode
from bus_schemas.queries import CacheUse, Query
from services.orchestrator.attempts import Attempts
from services.orchestrator.catalogue import CatalogueView, LiveVersion
from services.orchestrator.context import Context, Course
from services.orchestrator.dispatch import Outcome
from services.orchestrator.idempotency.entries import Told
from services.orchestrator.idempotency.keys import KeyedQuery, keyed_query
from services.orchestrator.idempotency.ledger import IdempotencyLedger, OutcomeUnknownError
from services.orchestrator.limits import Limits
from services.orchestrator.metrics import CANCELLED, TOOL_ERROR
from services.orchestrator.observer import Observer
from services.orchestrator.reading import ReadQuery, read_query
from services.orchestrator.recent import RecentHits
from services.orchestrator.repeating import is_idempotent, is_lost
from services.orchestrator.routing import candidates_among, candidates_for
from services.orchestrator.taken_out import TakenOut
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import Policy
from services.runtime.errors import (
    DeadlinePassedError,
    ForbiddenError,
    InternalError,
    MaybeExecutedError,
    NotExecutedError,
    NoWorkerError,
    PromptNotFoundError,
    QueryError,
    ResultTooLargeError,
    ToolNotFoundError,
)
from services.runtime.problems import CONTENT_TYPE as PROBLEM_TYPE
from services.runtime.problems import problem_body, problem_headers

log = logging.getLogger(__name__)

T = TypeVar("T")

_REPLAYED = {envelope.IDEMPOTENCY_REPLAYED: "true"}
_STOOD_IN_FOR = frozenset(
    {
        ErrorCode.OVERLOADED,
        ErrorCode.CIRCUIT_OPEN,
        ErrorCode.SERVER_UNAVAILABLE,
        ErrorCode.MAINTENANCE,
        ErrorCode.TIMEOUT,
        ErrorCode.UPSTREAM_ERROR,
    }
)


class Reply(msgspec.Struct, frozen=True):
    """What the caller gets, over HTTP and NATS alike."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


class Failure(msgspec.Struct, frozen=True, eq=False):
    """Why a query has no result, and the problem that tells its caller so."""

    error: QueryError
    problem: bytes


class QueryService:
    """Answers queries. Every way in comes through `answer` (HTTP, NATS) or, with words of its own, `result` (/mcp)."""

    def __init__(
        self,
        policy: Policy,
        catalogue: CatalogueView,
        attempts: Attempts,
        taken_out: TakenOut,
        limits: Limits,
        *,
        ledger: IdempotencyLedger,
        observer: Observer,
        recent: RecentHits,
    ) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._attempts = attempts
        self._taken_out = taken_out
        self._limits = limits
        self._ledger = ledger
        self._observer = observer
        self._recent = recent

    async def answer(self, body: bytes, context: Context) -> Reply:
        """Return the answer to the query in `body`, or the problem that stands in its way; by its deadline."""
        course = self._observer.begin(context)
        if (remembered := self._remembered(body, context, course)) is not None:
            return remembered
        try:
            return await self._observed(self._answer(body, context, course), context, course)
        except QueryError as error:
            return self._problem(error, context.request_id, course)

    async def result(self, read: ReadQuery, context: Context) -> bytes | Failure:
        """Return the server's own result, byte for byte and alone, or why there is none; by the query's deadline."""
        course = self._observer.begin(context)
        try:
            return await self._observed(self._result(read, context, course), context, course)
        except QueryError as error:
            return Failure(error, self._problem(error, context.request_id, course).body)

    def refuse(self, error: QueryError, request_id: str, received_at: float) -> Reply:
        """Return the problem for a query that never gets as far as `answer`."""
        self._observer.refused(request_id, received_at, error.code.value)
        return self.problem(error, request_id)

    def problem(self, error: QueryError, request_id: str) -> Reply:
        """Return the problem in place of an answer that `answer` has counted."""
        return self._problem(error, request_id, Course())

    def _remembered(self, body: bytes, context: Context, course: Course) -> Reply | None:
        """Return the answer that memory has to a query in words that it knows; None: it must be read."""
        found = None if context.idempotency_key is not None else self._recent.find(body, context, course)
        if found is None:
            return None
        version, outcome = found
        total_s = time.monotonic() - context.received_at
        reply = Reply(200, _envelope(context.request_id, course, version, outcome, total_s))
        if len(reply.body) > context.largest_reply_bytes:
            return None
        self._observer.answered(outcome, total_s)
        self._observer.finished(context, course, None)
        return reply

    async def _observed(self, answering: Awaitable[tuple[T, str | None]], context: Context, course: Course) -> T:
        """Return the answer, and tell the observer how the query ended.

        Raises:
            QueryError: there is none; whatever else goes wrong is an InternalError.
        """
        error_type: str | None = None
        try:
            answer, error_type = await answering
        except QueryError as error:
            error_type = error.code.value
            raise
        except asyncio.CancelledError:
            error_type = CANCELLED
            raise
        except Exception as error:
            log.exception("query failed", extra={"id": context.request_id})
            error_type = InternalError.code.value
            raise InternalError from error
        finally:
            self._observer.finished(context, course, error_type)
        return answer

    async def _result(self, read: ReadQuery, context: Context, course: Course) -> tuple[bytes, str | None]:
        _begin(course, read.query, context)
        _, outcome, error_type, _ = await self._outcome(read, context, course)
        return outcome.result, error_type

    async def _answer(self, body: bytes, context: Context, course: Course) -> tuple[Reply, str | None]:
        read = read_query(body)
        _begin(course, read.query, context)
        if context.idempotency_key is None:
            reply = await self._run(read, context, course)
            if course.cache is CacheUse.HIT and course.answered_by is not None:
                self._recent.note(body, read, context, course.answered_by)
            return reply
        return await self._once(keyed_query(context.idempotency_key, context.principal, read), read, context, course)

    async def _once(
        self, keyed: KeyedQuery, read: ReadQuery, context: Context, course: Course
    ) -> tuple[Reply, str | None]:
        """Answer as the first query with this key was answered, or be the first.

        A repetition takes nothing of the caller's limits: it costs no server anything.
        """
        self._check_rights(read.query, context.principal)

        async def run() -> Told:
            try:
                reply, error_type = await self._run(read, context, course)
            except QueryError as error:
                if error.executed == "no":
                    raise
                reply, error_type = self._problem(error, context.request_id, course), error.code.value
            return Told(reply.status, reply.content_type, reply.body, course.server, error_type)

        try:
            told, is_replayed = await self._ledger.once(
                keyed, context.request_id, course.deadline, run, may_have_run=lambda: course.attempts > 0
            )
        except OutcomeUnknownError as error:
            problem = self._problem(error, error.first_id or context.request_id, course)
            return replace(problem, headers=_REPLAYED), error.code.value
        if not is_replayed:
            return Reply(told.status, told.body, told.content_type), told.error_type
        course.server = told.server
        if told.server is not None and not context.principal.may_use(told.server, read.query.target):
            raise ForbiddenError  # the right was withdrawn since
        if len(told.body) > context.largest_reply_bytes:
            raise ResultTooLargeError
        return Reply(told.status, told.body, told.content_type, _REPLAYED), told.error_type

    def _check_rights(self, query: Query, principal: Principal) -> None:
        """Raise ForbiddenError if the caller has no right to what it asks for."""
        try:
            self._candidates(query, principal)
        except ForbiddenError:
            raise
        except QueryError:
            return  # nobody could answer it now; perhaps it was answered before

    async def _run(self, read: ReadQuery, context: Context, course: Course) -> tuple[Reply, str | None]:
        live, outcome, error_type, total_s = await self._outcome(read, context, course)
        course.answered_by = live
        reply = Reply(200, _envelope(context.request_id, course, live, outcome, total_s))
        if len(reply.body) > context.largest_reply_bytes:
            raise ResultTooLargeError
        return reply, error_type

    async def _outcome(
        self, read: ReadQuery, context: Context, course: Course
    ) -> tuple[LiveVersion, Outcome, str | None, float]:
        """Return who answered, what, as which error it counts, and how long it took in all, in seconds."""
        with self._limits.admit(context.principal):
            live, outcome = await self._ask_or_stand_in(read, context, course)
        if course.cache is CacheUse.COALESCED:
            outcome = replace(outcome, upstream_us=0, queue_us=0)  # another query's, which may have begun long before
        total_s = time.monotonic() - context.received_at
        self._observer.answered(outcome, total_s)
        return live, outcome, TOOL_ERROR if outcome.says_error else None, total_s

    async def _ask_or_stand_in(self, read: ReadQuery, context: Context, course: Course) -> tuple[LiveVersion, Outcome]:
        """Ask; where nobody can answer, an old answer may stand in. Source: RFC 5861, section 4."""
        try:
            return await self._ask(read, context, course)
        except QueryError as error:
            if course.stand_in is None or error.code not in _STOOD_IN_FOR:
                raise
        version, outcome = course.stand_in.version, course.stand_in.outcome
        course.server, course.cache = version.server, CacheUse.STALE
        return version, outcome

    async def _ask(self, read: ReadQuery, context: Context, course: Course) -> tuple[LiveVersion, Outcome]:
        """Ask one candidate after another while none has run the call, or while running it again does no harm.

        What is told is the first failure; one of a call that may have run goes before those that certainly did not.
        """
        first_failure: NotExecutedError | None = None
        candidates = self._candidates(read.query, context.principal)
        for server in filter(self._catalogue.live, candidates):
            self._observer.know(server)
        if (state := read.query.request_state) is not None:
            servers = [server for server in candidates if not self._taken_out.holds(server)]
            answered = await self._attempts.resume(state, servers, read, context, course)
            if answered is not None:
                return answered
        for server in candidates:
            if time.monotonic() >= course.deadline:
                first_failure = first_failure or DeadlinePassedError()
                break
            ask = self._taken_out.ask if self._taken_out.holds(server) else self._attempts.ask
            try:
                return await ask(server, read, context, course)
            except NotExecutedError as error:
                first_failure = first_failure or error
            except MaybeExecutedError as error:
                course.lose(error)
                if not is_lost(error) or not self._is_idempotent(read.query, server):
                    break
        raise next(iter(course.losses), first_failure) or ToolNotFoundError()

    def _candidates(self, query: Query, principal: Principal) -> list[str]:
        def may_use(server: str) -> bool:
            return principal.may_use(server, query.target)

        policies = self._policy.servers
        if query.server is not None:
            return candidates_for(query.server, policies, is_announced=self._catalogue.is_known, may_use=may_use)
        candidates = candidates_among(self._catalogue.offerers(query), policies, may_use=may_use)
        if not candidates:
            if not self._catalogue.servers() or any(map(may_use, self._catalogue.former_offerers(query))):
                raise NoWorkerError
            raise PromptNotFoundError if query.prompt is not None else ToolNotFoundError
        return candidates

    def _problem(self, error: QueryError, request_id: str, course: Course) -> Reply:
        return Reply(
            ERRORS[error.code].status,
            problem_body(error, request_id, is_idempotent=self._is_idempotent(course.query, course.server)),
            PROBLEM_TYPE,
            problem_headers(error),
        )

    def _is_idempotent(self, query: Query | None, server: str | None) -> bool:
        if query is None or server is None:
            return False
        live = self._catalogue.live(server)
        version = None if live is None else live.versions[live.first_version]
        return is_idempotent(query, self._policy.of(server), version)


def _begin(course: Course, query: Query, context: Context) -> None:
    """Note what is asked, and until when."""
    course.query = query
    course.server = query.server
    course.deadline = context.received_at + query.timeout_ms / 1000


def _envelope(request_id: str, course: Course, version: LiveVersion, outcome: Outcome, total_s: float) -> bytes:
    """Our fields, written around the result's own bytes. Names and versions hold no character that JSON escapes."""
    head = (
        f'{{"id":"{request_id}","server":"{course.server}","version":"{version.version}","instance":"{outcome.instance}",'
        f'"cache":"{course.cache}","attempts":{course.attempts},"timing_ms":{{"total":{total_s * 1000:.3f},'
        f'"upstream":{outcome.upstream_us / 1000:.3f},"queue":{outcome.queue_us / 1000:.3f}}},"result":'
    )
    return b"".join((head.encode(), outcome.result, b"}"))
