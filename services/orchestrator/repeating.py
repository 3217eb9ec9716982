"""Whether a call that may have run may be sent again: only if that does no harm, and only so often."""

from collections.abc import Callable
from typing import Final

from bus_schemas.queries import Query
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.context import Course
from services.orchestrator.flow_metrics import FlowMetrics
from services.orchestrator.retry_budget import RetryBudget
from services.runtime.config.policy import Policy, ServerPolicy, ToolPolicy
from services.runtime.errors import DeadlineExceededError, MaybeExecutedError, UpstreamError

_NO_TOOL_POLICY: Final = ToolPolicy()
_MOST_LOSSES: Final = 3
"""A query whose calls were lost three times has met more than bad luck."""
_LEAST_S: Final = 0.01
"""What must be left of the deadline: a timer that waits for it may fire a millisecond before."""


def is_idempotent(query: Query, policy: ServerPolicy, version: LiveVersion | None) -> bool:
    """Return whether running it twice does what once does: the operator's word, else the server's where it is believed.

    Reading never does harm.
    """
    if query.tool is None:
        return True
    said = policy.tools.get(query.tool, _NO_TOOL_POLICY).idempotent
    if said is not None:
        return said
    if not policy.trust_hints or version is None:
        return False
    tool = version.offer.tools.get(query.tool)
    hints = {} if tool is None else tool.definition.get("annotations")
    if not isinstance(hints, dict):  # the server's word, which may be anything
        return False
    return bool(hints.get("idempotentHint") or hints.get("readOnlyHint"))


def is_lost(error: MaybeExecutedError) -> bool:
    """Return whether the server has not answered. A bug of ours does not count: it would come along."""
    return isinstance(error, DeadlineExceededError | UpstreamError)


class Repeats:
    """Is asked before each call that goes out; one for the whole process."""

    def __init__(self, policy: Policy, budget: RetryBudget, metrics: FlowMetrics, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._budget = budget
        self._metrics = metrics
        self._clock = clock

    def admit(self, query: Query, version: LiveVersion, course: Course) -> None:
        """Count a call to `version` that is about to go out.

        Raises:
            MaybeExecutedError: the first of the query's calls that were lost; this one must not follow it.
        """
        if course.losses:
            self._check(query, version, course)
        elif course.attempts == 0:
            self._budget.count_call()
        if course.failed_with is not None:
            self._metrics.sent_again(course.failed_with)

    def _check(self, query: Query, version: LiveVersion, course: Course) -> None:
        is_harmless = is_idempotent(query, self._policy.of(version.server), version)
        is_too_late = self._clock() + _LEAST_S >= course.deadline
        if not is_harmless or is_too_late or len(course.losses) >= _MOST_LOSSES or not course.may_repeat:
            raise course.losses[0]
        if not self._budget.take():
            course.may_repeat = False  # nor to anybody who would be asked next
            self._metrics.budget_exhausted()
            raise course.losses[0]
