"""A query, from the body's bytes to the reply's: read, admitted, routed, checked, dispatched, answered."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from bus_schemas.errors import ERRORS
from bus_schemas.queries import CacheUse, Query
from services.orchestrator.catalogue import CatalogueView, LiveServer, LiveVersion
from services.orchestrator.dispatch import Call, Dispatcher, Outcome
from services.orchestrator.forwarding import HeaderValues, forwarded_headers, no_headers
from services.orchestrator.limits import Limits
from services.orchestrator.metrics import CANCELLED, TOOL_ERROR, QueryMetrics
from services.orchestrator.reading import ReadQuery, read_query
from services.orchestrator.routing import candidates_among, candidates_for
from services.orchestrator.tracing import NO_TRACE, TraceContext
from services.orchestrator.weights import SmoothWeightedRoundRobin, effective_weights
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import Policy, ServerPolicy, ToolPolicy
from services.runtime.errors import (
    DeadlinePassedError,
    InternalError,
    NotExecutedError,
    NoWorkerError,
    OverloadedError,
    PromptNotFoundError,
    QueryError,
    ResultTooLargeError,
    ToolNotFoundError,
)
from services.runtime.problems import CONTENT_TYPE as PROBLEM_TYPE
from services.runtime.problems import problem_body, problem_headers

log = logging.getLogger(__name__)

_ATTEMPTS_PER_VERSION = 3
"""A queue group picks its member by chance: one that is full or leaving does not speak for the others."""

_NO_TOOL_POLICY = ToolPolicy()
_UNCONFIGURED = ServerPolicy()


@dataclass(frozen=True, slots=True)
class Context:
    """What comes with a query beside its body."""

    request_id: str
    principal: Principal
    received_at: float
    """By time.monotonic()."""
    trace: TraceContext = NO_TRACE
    headers: HeaderValues = field(default=no_headers, repr=False)
    """The caller's; only those that a server's configuration names are ever looked at."""
    largest_reply_bytes: float = math.inf
    """Of the body; an answer that is larger could not be delivered."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the caller gets, over HTTP and NATS alike."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Course:
    """How far a query has come; what metrics and problems need to know of it when it fails."""

    query: Query | None = None
    server: str | None = None
    attempts: int = 0
    deadline: float = 0.0


class QueryService:
    """Answers queries. Every way in (HTTP, NATS, /mcp) comes through `answer`."""

    def __init__(
        self, policy: Policy, catalogue: CatalogueView, dispatcher: Dispatcher, limits: Limits, metrics: QueryMetrics
    ) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._dispatcher = dispatcher
        self._limits = limits
        self._metrics = metrics
        self._turns: dict[str, SmoothWeightedRoundRobin] = {}

    async def answer(self, body: bytes, context: Context) -> Reply:
        """Return the answer to the query in `body`, or the problem that stands in its way; by its deadline."""
        course = _Course()
        error_type: str | None = None
        try:
            reply, error_type = await self._answer(body, context, course)
        except QueryError as error:
            error_type = error.code.value
            reply = self._problem(error, context.request_id, course)
        except asyncio.CancelledError:
            error_type = CANCELLED
            raise
        except Exception:
            log.exception("query failed", extra={"id": context.request_id})
            error_type = InternalError.code.value
            reply = self._problem(InternalError(), context.request_id, course)
        finally:
            elapsed_s = time.monotonic() - context.received_at
            self._metrics.count(course.server, elapsed_s, error_type)
        return reply

    def refuse(self, error: QueryError, request_id: str, received_at: float) -> Reply:
        """Return the problem for a query that never gets as far as `answer`."""
        self._metrics.count(None, time.monotonic() - received_at, error.code.value)
        return self.problem(error, request_id)

    def problem(self, error: QueryError, request_id: str) -> Reply:
        """Return the problem in place of an answer that `answer` has counted."""
        return self._problem(error, request_id, _Course())

    async def _answer(self, body: bytes, context: Context, course: _Course) -> tuple[Reply, str | None]:
        read = read_query(body)
        course.query = read.query
        course.server = read.query.server
        course.deadline = context.received_at + read.query.timeout_ms / 1000
        with self._limits.admit(context.principal):
            live, outcome = await self._ask(read, context, course)
        total_s = time.monotonic() - context.received_at
        is_tool_error = read.query.tool is not None and _is_tool_error(outcome.result)
        reply = Reply(200, _envelope(context.request_id, course, live, outcome, total_s))
        if len(reply.body) > context.largest_reply_bytes:
            raise ResultTooLargeError
        return reply, TOOL_ERROR if is_tool_error else None

    async def _ask(self, read: ReadQuery, context: Context, course: _Course) -> tuple[LiveVersion, Outcome]:
        """Ask one candidate after another while it is certain that none has run the call."""
        first_failure: QueryError | None = None
        for server in self._candidates(read.query, context.principal):
            if time.monotonic() >= course.deadline:
                first_failure = first_failure or DeadlinePassedError()
                break
            try:
                return await self._ask_server(server, read, context, course)
            except NotExecutedError as error:
                first_failure = first_failure or error
        raise first_failure or ToolNotFoundError()

    async def _ask_server(
        self, server: str, read: ReadQuery, context: Context, course: _Course
    ) -> tuple[LiveVersion, Outcome]:
        """Ask one server: a version by its weight; on "no responders" the next version at once."""
        live = self._catalogue.live(server)
        if live is None:
            raise NoWorkerError
        self._metrics.know(server)
        failure: NotExecutedError = NoWorkerError()
        for version in self._versions(live, read.query):
            if read.query.tool is not None and (tool := version.offer.tools.get(read.query.tool)) is not None:
                tool.check(read.query.arguments)
            course.server = server
            try:
                return version, await self._ask_version(version, read, context, course)
            except NoWorkerError as error:
                failure = error
        raise failure

    async def _ask_version(self, version: LiveVersion, read: ReadQuery, context: Context, course: _Course) -> Outcome:
        policy = self._policy.servers.get(version.server, _UNCONFIGURED)
        forwarded = forwarded_headers(policy, context.headers)
        for attempt in range(1, _ATTEMPTS_PER_VERSION + 1):
            course.attempts += 1
            call = Call(
                server=version.server,
                version=version.version,
                body=read.body(),
                request_id=context.request_id,
                attempt=course.attempts,
                principal=context.principal.id,
                deadline=course.deadline,
                traceparent=context.trace.traceparent,
                tracestate=context.trace.tracestate,
                forwarded=forwarded,
            )
            try:
                return await self._dispatcher.call(call)
            except (OverloadedError, NoWorkerError):
                if attempt == min(_ATTEMPTS_PER_VERSION, len(version.instances)):
                    raise
        raise NoWorkerError

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

    def _versions(self, live: LiveServer, query: Query) -> Iterator[LiveVersion]:
        """Yield the versions that offer what is asked: those with weight by their turn, then, as a last resort, others.

        A resource that no version with weight lists is asked for all the same.

        Raises:
            ToolNotFoundError, PromptNotFoundError: no version with weight offers it.
        """
        weights = effective_weights({}, live.versions, live.first_version)
        offering = {version: one for version, one in live.versions.items() if one.offer.offers(query)}
        if query.resource is not None and not offering.keys() & weights.keys():
            offering = dict(live.versions)
        weighted = {version: weights[version] for version in offering if version in weights}
        if not weighted:
            raise PromptNotFoundError if query.prompt is not None else ToolNotFoundError
        turns = self._turns.setdefault(live.name, SmoothWeightedRoundRobin())
        while weighted:
            version = turns.choose(weighted) if len(weighted) > 1 else next(iter(weighted))
            yield offering[version]
            del weighted[version]
        yield from (offering[version] for version in offering if version not in weights)

    def _problem(self, error: QueryError, request_id: str, course: _Course) -> Reply:
        return Reply(
            ERRORS[error.code].status,
            problem_body(error, request_id, is_idempotent=self._is_idempotent(course)),
            PROBLEM_TYPE,
            problem_headers(error),
        )

    def _is_idempotent(self, course: _Course) -> bool:
        """Whether the call may be sent again although it may have run; reading never does harm."""
        if course.query is None or course.server is None:
            return False
        if course.query.tool is None:
            return True
        policy = self._policy.servers.get(course.server, _UNCONFIGURED)
        said = policy.tools.get(course.query.tool, _NO_TOOL_POLICY).idempotent
        if said is not None:
            return said
        return policy.trust_hints and self._is_hinted_idempotent(course.server, course.query.tool)

    def _is_hinted_idempotent(self, server: str, name: str) -> bool:
        live = self._catalogue.live(server)
        if live is None:
            return False
        tool = live.versions[live.first_version].offer.tools.get(name)
        hints = {} if tool is None else tool.definition.get("annotations")
        if not isinstance(hints, dict):  # the server's word, which may be anything
            return False
        return bool(hints.get("idempotentHint") or hints.get("readOnlyHint"))


def _envelope(request_id: str, course: _Course, version: LiveVersion, outcome: Outcome, total_s: float) -> bytes:
    """Our fields, written around the result's own bytes. Names and versions hold no character that JSON escapes."""
    head = (
        f'{{"id":"{request_id}","server":"{course.server}","version":"{version.version}","instance":"{outcome.instance}",'
        f'"cache":"{CacheUse.OFF}","attempts":{course.attempts},"timing_ms":{{"total":{total_s * 1000:.3f},'
        f'"upstream":{outcome.upstream_us / 1000:.3f},"queue":{outcome.queue_us / 1000:.3f}}},"result":'
    )
    return b"".join((head.encode(), outcome.result, b"}"))


class _ToolResult(msgspec.Struct):
    isError: bool = False  # noqa: N815  # MCP's name


def _is_tool_error(result: bytes) -> bool:
    try:
        return msgspec.json.decode(result, type=_ToolResult).isError
    except msgspec.DecodeError:
        return False
