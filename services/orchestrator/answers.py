"""One version's answer: the arguments are checked, it is looked up, and if need be a worker is called."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.orchestrator.admission import Admission
from services.orchestrator.breaker.board import Board
from services.orchestrator.cache.cache import AnswerCache, Question
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.context import Context, Course
from services.orchestrator.dispatch import Call, Dispatcher, Outcome
from services.orchestrator.forwarding import forwarded_headers
from services.orchestrator.pins import rendezvous
from services.orchestrator.reading import ReadQuery
from services.orchestrator.repeating import Repeats, is_lost
from services.orchestrator.tallies import Counting, uncounted
from services.runtime.config.policy import Policy
from services.runtime.errors import (
    CircuitOpenError,
    MaybeExecutedError,
    NotExecutedError,
    NoWorkerError,
    OverloadedError,
    ToolNotFoundError,
)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom one attempt is for."""

    instance: str | None = None
    """None: any worker of the version."""
    session_lost: bool = False


ANYBODY: Final = Target()
_MOST_OTHERS: Final = 3
"""Workers that are asked by name after one that lost the call; some may be full or leaving."""


class Answers:
    """Gets the answer of one version of a server."""

    def __init__(
        self,
        policy: Policy,
        cache: AnswerCache,
        board: Board,
        dispatcher: Dispatcher,
        *,
        repeats: Repeats,
        admission: Admission,
        counting: Counting = uncounted,
    ) -> None:
        self._policy = policy
        self._cache = cache
        self._board = board
        self._dispatcher = dispatcher
        self._repeats = repeats
        self._admission = admission
        self._counting = counting

    def lets_through(self, version: LiveVersion) -> bool:
        """Whether the version's breaker would let a call through now."""
        return self._board.lets_through(version.server, version.version)

    async def of(
        self, version: LiveVersion, targets: Sequence[Target], read: ReadQuery, context: Context, course: Course
    ) -> Outcome:
        """Return the answer: one that is kept, or that of the first of `targets` that runs the call.

        Where that call is lost, another worker of the version is asked if `Repeats` lets it.

        Raises:
            ToolNotFoundError: the tool's definition is not accepted.
            InvalidArgumentsError: they do not fit the tool's schema.
            OverloadedError: too many wait for the server's answers.
            CircuitOpenError: the version's breaker lets no call through.
            QueryError: as `Dispatcher.call` does.
        """
        if version.offer.quarantines(read.query):
            raise ToolNotFoundError
        if read.query.tool is not None and (tool := version.offer.tools.get(read.query.tool)) is not None:
            tool.check(read.query.arguments)
        course.server = version.server
        forwarded = self._forwarded(version, context)

        async def call() -> Outcome:
            body = read.body()
            failure: NotExecutedError | None = None
            lost: MaybeExecutedError | None = None
            line = deque(targets)
            tried: set[str | None] = set()
            while line:
                target = line.popleft()
                try:
                    self._board.check(version.server, version.version)  # first: a call that is refused costs no repeat
                except CircuitOpenError as error:
                    course.failed_with = error.code
                    failure = error
                    break
                self._repeats.admit(read.query, version, course)
                try:
                    with (
                        self._board.guarding(version.server, version.version, course.deadline),
                        course.span.child("attempt", server=version.server, version=version.version) as span,
                    ):
                        course.attempts += 1
                        span.note(attempt=course.attempts, cache=course.cache)
                        attempt = Call(
                            server=version.server,
                            version=version.version,
                            body=body,
                            request_id=context.request_id,
                            attempt=course.attempts,
                            principal=context.principal.id,
                            deadline=course.deadline,
                            is_of_tool=read.query.tool is not None,
                            traceparent=span.trace.traceparent,
                            tracestate=span.trace.tracestate,
                            forwarded=forwarded,
                            instance=target.instance,
                            session_lost=target.session_lost,
                            on_progress=context.on_progress,
                            on_log=context.on_log,
                            log_level=context.log_level,
                            on_ask=context.on_ask,
                            client_capabilities=context.client_capabilities,
                        )
                        return await self._dispatcher.call(attempt)
                except (OverloadedError, NoWorkerError) as error:
                    course.failed_with = error.code
                    failure = error
                except MaybeExecutedError as error:
                    course.lose(error)
                    lost = lost or error
                    tried.add(error.holder)
                    # Who was to be asked because of what it remembers has no others.
                    line = deque(_others(version, tried, context) if is_lost(error) and ANYBODY in targets else ())
            raise lost or failure or NoWorkerError()

        with self._admission.at(version.server):
            question = Question(read, version, context.principal, forwarded)
            return await self._cache.answer(question, course, self._counting(version, call))

    async def recall(self, version: LiveVersion, read: ReadQuery, context: Context, course: Course) -> Outcome | None:
        """Return the answer that is kept of a version that cannot be called now; None: there is no fresh one."""
        if version.offer.quarantines(read.query):
            return None
        forwarded = self._forwarded(version, context)
        outcome = await self._cache.recall(Question(read, version, context.principal, forwarded), course)
        if outcome is not None:
            course.server = version.server
        return outcome

    def _forwarded(self, version: LiveVersion, context: Context) -> Mapping[str, str]:
        return forwarded_headers(self._policy.of(version.server), context.headers)


def _others(version: LiveVersion, tried: set[str | None], context: Context) -> Sequence[Target]:
    """The workers of the version that have not lost the call; each query has an order of its own."""
    untried = [instance for instance in version.instances if instance not in tried]
    return [Target(instance) for instance in rendezvous(context.request_id, untried)[:_MOST_OTHERS]]
