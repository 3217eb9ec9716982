"""One version's answer: the arguments are checked, it is looked up, and if need be a worker is called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.orchestrator.cache.cache import AnswerCache, Question
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.context import Context, Course
from services.orchestrator.dispatch import Call, Dispatcher, Outcome
from services.orchestrator.forwarding import forwarded_headers
from services.orchestrator.reading import ReadQuery
from services.runtime.config.policy import Policy
from services.runtime.errors import NotExecutedError, NoWorkerError, OverloadedError


@dataclass(frozen=True, slots=True)
class Target:
    """Whom one attempt is for."""

    instance: str | None = None
    """None: any worker of the version."""
    session_lost: bool = False


ANYBODY: Final = Target()


class Answers:
    """Gets the answer of one version of a server."""

    def __init__(self, policy: Policy, cache: AnswerCache, dispatcher: Dispatcher) -> None:
        self._policy = policy
        self._cache = cache
        self._dispatcher = dispatcher

    async def of(
        self, version: LiveVersion, targets: Sequence[Target], read: ReadQuery, context: Context, course: Course
    ) -> Outcome:
        """Return the answer: one that is kept, or that of the first of `targets` that runs the call.

        Raises:
            InvalidArgumentsError: they do not fit the tool's schema.
            QueryError: as `Dispatcher.call` does.
        """
        if read.query.tool is not None and (tool := version.offer.tools.get(read.query.tool)) is not None:
            tool.check(read.query.arguments)
        course.server = version.server
        forwarded = self._forwarded(version, context)

        async def call() -> Outcome:
            body = read.body()
            failure: NotExecutedError = NoWorkerError()
            for target in targets:
                course.attempts += 1
                attempt = Call(
                    server=version.server,
                    version=version.version,
                    body=body,
                    request_id=context.request_id,
                    attempt=course.attempts,
                    principal=context.principal.id,
                    deadline=course.deadline,
                    traceparent=context.trace.traceparent,
                    tracestate=context.trace.tracestate,
                    forwarded=forwarded,
                    instance=target.instance,
                    session_lost=target.session_lost,
                    on_progress=context.on_progress,
                )
                try:
                    return await self._dispatcher.call(attempt)
                except (OverloadedError, NoWorkerError) as error:
                    failure = error
            raise failure

        return await self._cache.answer(Question(read.query, version, context.principal, forwarded), course, call)

    async def recall(self, version: LiveVersion, read: ReadQuery, context: Context, course: Course) -> Outcome | None:
        """Return the answer that is kept of a version that cannot be called now; None: there is no fresh one."""
        forwarded = self._forwarded(version, context)
        outcome = await self._cache.recall(Question(read.query, version, context.principal, forwarded), course)
        if outcome is not None:
            course.server = version.server
        return outcome

    def _forwarded(self, version: LiveVersion, context: Context) -> Mapping[str, str]:
        return forwarded_headers(self._policy.of(version.server), context.headers)
