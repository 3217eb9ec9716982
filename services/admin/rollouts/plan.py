"""What becomes of a rollout: what comes next by itself, and what an operator may order. Pure.

running ⇄ paused; from both to rolled_back, or failed where the old version has nobody left to go back to;
from the last step, or where an operator promotes it, the old version's workers leave: completed.
"""

from dataclasses import dataclass
from typing import Final

from services.admin.rollouts.gate import Counts, find_errors, find_slowness
from services.admin.rollouts.rollout import Rollout, RolloutState

START_S: Final = 15.0
"""How long a version whose workers have announced themselves may take until one of them serves."""
GONE_S: Final = 2.0
"""How long a version with traffic may be without a worker that serves."""
DRAIN_ORDERED_S: Final = 10.0
"""How long the old version's workers have to take the order to leave."""
EARLY_S: Final = 5.0
"""From when on a step is failed for slowness before its time is over."""
_MIN_REFERENCE: Final = 20
"""With fewer requests in the same time, the old version's errors are all that it ever made."""
MAX_RESTARTS: Final = 1
"""How often the new version's servers may have to be reached anew; a crash is no habit."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when the next move is decided."""

    elapsed_s: float
    """Since the lap began, in seconds."""
    is_current: bool
    """Whether all orchestrators have told what they counted after the time of the step was over."""
    new: Counts
    """Since the lap began."""
    old: Counts
    """In the same time."""
    old_ever: Counts
    """All that is known of the old version."""
    new_serves: bool
    old_serves: bool
    gone_s: float
    """For how long no worker of the new version has served, in seconds; 0.0 while one does."""
    fault: str | None = None
    """Why the new version's servers have no session, as their workers say."""
    missing: tuple[str, ...] = ()
    """The tools that the old version has and the new one lacks."""
    restarts: int = 0
    """How often sessions with the new version's servers were opened anew since the lap began."""
    breaker_open: bool = False
    """Whether the breaker of the new version is open."""
    old_workers: int = 0
    """Those of the old version that have not begun to leave."""


def next_move(rollout: Rollout, facts: Facts) -> Rollout:
    """Return the rollout as it is from now on: the same one if nothing is to be done."""
    if rollout.state.is_over:
        return rollout
    if rollout.is_draining:
        return _finish(rollout, facts)
    if rollout.step == 0:
        return _start(rollout, facts)
    if (fault := _fault(rollout, facts)) is not None:
        return _go_back(rollout, f"version {rollout.to_version} at {rollout.weight} %: {fault}", facts)
    if rollout.state is RolloutState.PAUSED or not facts.new_serves or not _is_time_over(rollout, facts):
        return rollout
    return _pass(rollout, facts.new.requests)


class OrderRefusedError(Exception):
    """The rollout is not in a state for that order."""


def pause(rollout: Rollout, _facts: Facts) -> Rollout:
    """Stay at the weights as they are. The new version is watched all the same, and goes back if it fails."""
    _require(rollout.state is RolloutState.RUNNING and not rollout.is_draining)
    return _changed(rollout, state=RolloutState.PAUSED, reason="paused by an operator")


def resume(rollout: Rollout, _facts: Facts) -> Rollout:
    """Go on with the step, from its beginning."""
    _require(rollout.state is RolloutState.PAUSED)
    return _changed(rollout, state=RolloutState.RUNNING, reason="", lap=rollout.lap + 1)


def promote(rollout: Rollout, facts: Facts) -> Rollout:
    """Give the new version everything now, whatever steps are left."""
    _require(not rollout.state.is_over and not rollout.is_draining and facts.new_serves)
    return _drain(rollout, "promoted by an operator")


def roll_back(rollout: Rollout, facts: Facts) -> Rollout:
    """Give the old version everything again now."""
    _require(not rollout.state.is_over and not rollout.is_draining)
    return _go_back(rollout, "rolled back by an operator", facts)


def _start(rollout: Rollout, facts: Facts) -> Rollout:
    if facts.new_serves:
        if (missing := _missing(facts)) is not None:
            return _go_back(rollout, f"version {rollout.to_version} {missing}", facts)
        return rollout if rollout.state is RolloutState.PAUSED else _enter(rollout, step=1, reason="")
    if facts.elapsed_s < START_S:
        return rollout
    return _go_back(rollout, f"no worker of version {rollout.to_version} serves{_because(facts)}", facts)


def _fault(rollout: Rollout, facts: Facts) -> str | None:
    if not facts.new_serves and facts.gone_s >= GONE_S:
        return f"no worker serves any more{_because(facts)}"
    if facts.restarts > MAX_RESTARTS:
        return f"its server had to be reached anew {facts.restarts} times{_because(facts)}"
    if facts.breaker_open:
        return "its breaker has opened: calls in a row failed"
    return _missing(facts) or _errors(rollout, facts) or _slowness(rollout, facts)


def _errors(rollout: Rollout, facts: Facts) -> str | None:
    old = facts.old if facts.old.requests >= _MIN_REFERENCE else facts.old_ever
    return find_errors(facts.new, old, rollout.order.max_error_rate)


def _slowness(rollout: Rollout, facts: Facts) -> str | None:
    is_over = _is_time_over(rollout, facts)
    if rollout.weight == 100 or not (is_over or facts.elapsed_s >= EARLY_S):
        return None  # without the old version beside it, nobody knows whether it is the version or the day
    return find_slowness(facts.new, facts.old, rollout.order.max_p95_ratio, is_early=not is_over)


def _is_time_over(rollout: Rollout, facts: Facts) -> bool:
    return facts.is_current and facts.elapsed_s >= rollout.order.step_s


def _missing(facts: Facts) -> str | None:
    if not facts.missing:
        return None
    shown = ", ".join(facts.missing[:5]) + (", …" if len(facts.missing) > 5 else "")
    return f"lacks what the old version has: {shown}"


def _because(facts: Facts) -> str:
    return "" if facts.fault is None else f": {facts.fault}"


def _pass(rollout: Rollout, requests: int) -> Rollout:
    reason = ""
    if requests < rollout.order.min_requests:
        seen = f"{requests} of {rollout.order.min_requests} requests"
        if rollout.order.require_traffic:
            return _changed(rollout, state=RolloutState.PAUSED, reason=f"step {rollout.step} has seen {seen}")
        reason = f"step {rollout.step} passed without evidence: {seen}"
    if rollout.step < len(rollout.order.steps):
        return _enter(rollout, step=rollout.step + 1, reason=reason)
    return _drain(rollout, reason)


def _enter(rollout: Rollout, *, step: int, reason: str) -> Rollout:
    weight = rollout.order.steps[step - 1]
    return _changed(rollout, step=step, weight=weight, reason=reason, lap=rollout.lap + 1)


def _drain(rollout: Rollout, reason: str) -> Rollout:
    """The new version has passed. It is running until the old one's workers are leaving."""
    return _changed(
        rollout,
        state=RolloutState.RUNNING,
        step=len(rollout.order.steps),
        weight=100,
        reason=reason,
        is_draining=True,
        lap=rollout.lap + 1,
    )


def _finish(rollout: Rollout, facts: Facts) -> Rollout:
    if not facts.old_workers:
        return _changed(rollout, state=RolloutState.COMPLETED)
    if facts.elapsed_s < DRAIN_ORDERED_S:
        return rollout
    reason = f"{facts.old_workers} workers of version {rollout.from_version} have not taken the order to leave"
    return _changed(rollout, state=RolloutState.COMPLETED, reason=reason)


def _go_back(rollout: Rollout, reason: str, facts: Facts) -> Rollout:
    if facts.old_serves:
        return _changed(rollout, state=RolloutState.ROLLED_BACK, weight=0, reason=reason)
    reason += f"; and no worker of version {rollout.from_version} serves to go back to"
    return _changed(rollout, state=RolloutState.FAILED, weight=0, reason=reason)


def _require(condition: bool) -> None:
    if not condition:
        raise OrderRefusedError


def _changed(rollout: Rollout, **fields: object) -> Rollout:
    return rollout.model_copy(update=fields)
