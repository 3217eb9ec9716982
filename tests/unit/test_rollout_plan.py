"""What becomes of a rollout by time, counts and what lives; and which orders it takes when."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bus_schemas.latencies import latency_bucket
from services.admin.rollouts.gate import Counts
from services.admin.rollouts.plan import (
    DRAIN_ORDERED_S,
    EARLY_S,
    GONE_S,
    START_S,
    Facts,
    OrderRefusedError,
    next_move,
    pause,
    promote,
    resume,
    roll_back,
)
from services.admin.rollouts.rollout import KeptOrder, Rollout, RolloutOrder, RolloutState

GOOD = Counts(100, 0, {latency_bucket(0.01): 100})
WORSE = Counts(100, 50, {latency_bucket(0.01): 100})
WELL = Facts(
    elapsed_s=0.0,
    is_current=True,
    new=GOOD,
    old=GOOD,
    old_ever=GOOD,
    new_serves=True,
    old_serves=True,
    gone_s=0.0,
    old_workers=2,
)
OVER = replace(WELL, elapsed_s=30.0)
ORDERS = {"pause": pause, "resume": resume, "promote": promote, "rollback": roll_back}


def rollout(*, step: int = 0, weight: int = 0, **fields: Any) -> Rollout:
    order = KeptOrder(server="a", to_version="2.0.0", **fields.pop("order", {}))
    return Rollout(
        id="one",
        server="a",
        from_version="1.0.0",
        to_version="2.0.0",
        state=fields.pop("state", RolloutState.RUNNING),
        weight=weight,
        step=step,
        reason="",
        observed={},
        order=order,
        epoch=1,
        weights_by="x",
        weights_at=0.0,
        **fields,
    )


def at(step: int, **fields: Any) -> Rollout:
    return rollout(step=step, weight=(10, 50, 100)[step - 1], **fields)


def test_the_defaults_are_those_of_the_specification() -> None:
    assert RolloutOrder(server="a", to_version="2.0.0").model_dump() == {
        "server": "a",
        "to_version": "2.0.0",
        "steps": [10, 50, 100],
        "step_s": 30,
        "max_error_rate": 0.01,
        "max_p95_ratio": 1.5,
        "min_requests": 50,
        "require_traffic": False,
    }


@pytest.mark.parametrize("value", [True, "2"])
@pytest.mark.parametrize("name", ["step_s", "max_error_rate", "max_p95_ratio", "min_requests"])
def test_what_is_to_be_a_number_is_no_text_and_no_truth(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        RolloutOrder.model_validate({"server": "a", "to_version": "2.0.0", name: value})


def test_a_good_version_goes_through_the_steps_and_is_completed_when_the_old_workers_leave() -> None:
    now, weights = rollout(), []
    for facts in (WELL, WELL, OVER, WELL, OVER, WELL, OVER, WELL, replace(WELL, old_workers=0)):
        now = next_move(now, facts)
        weights.append((now.state.value, now.step, now.weight, now.is_draining))
    assert weights == [
        ("running", 1, 10, False),
        ("running", 1, 10, False),
        ("running", 2, 50, False),
        ("running", 2, 50, False),
        ("running", 3, 100, False),
        ("running", 3, 100, False),
        ("running", 3, 100, True),
        ("running", 3, 100, True),
        ("completed", 3, 100, True),
    ]
    assert now.reason == ""
    assert next_move(now, replace(OVER, new=WORSE)) is now, "it is over"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(WELL, new=WORSE), "50 of 100 requests failed"),
        (replace(WELL, new_serves=False, gone_s=GONE_S, fault="Process exited"), "no worker serves any more: Process"),
        (replace(WELL, restarts=2, fault="Process exited"), "had to be reached anew 2 times: Process exited"),
        (replace(WELL, breaker_open=True), "its breaker has opened"),
        (replace(WELL, missing=("a", "b", "c", "d", "e", "f")), "lacks what the old version has: a, b, c, d, e, …"),
    ],
    ids=["errors", "gone", "crashes", "breaker", "lacks tools"],
)
@pytest.mark.parametrize("state", [RolloutState.RUNNING, RolloutState.PAUSED])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_version_that_fails_goes_back_at_once_and_says_why(
    facts: Facts, reason: str, state: RolloutState, step: int
) -> None:
    back = next_move(at(step, state=state), facts)
    assert (back.state, back.weight, back.shares) == (RolloutState.ROLLED_BACK, 0, {"1.0.0": 100, "2.0.0": 0})
    assert reason in back.reason
    alone = next_move(at(step, state=state), replace(facts, old_serves=False))
    assert (alone.state, alone.weight) == (RolloutState.FAILED, 0)
    assert "no worker of version 1.0.0 serves to go back to" in alone.reason


def test_a_slow_version_goes_back_when_its_step_is_over_or_some_time_has_passed() -> None:
    slow = replace(WELL, new=Counts(60, 0, {latency_bucket(3.0): 60}))
    assert next_move(at(1), slow) == at(1), "a hiccup"
    for facts in (replace(slow, elapsed_s=EARLY_S), replace(slow, elapsed_s=30.0)):
        back = next_move(at(1), facts)
        assert back.state is RolloutState.ROLLED_BACK
        assert "95 % of calls take up to" in back.reason
    assert next_move(at(3), replace(slow, elapsed_s=EARLY_S)) == at(3), "nothing to compare with"


def test_where_the_old_version_has_no_traffic_its_errors_before_are_those_to_compare_with() -> None:
    failing = replace(WELL, new=Counts(100, 20, {0: 100}), old=Counts(), old_ever=Counts(1000, 200, {0: 1000}))
    assert next_move(at(3), failing) == at(3), "as many as ever"
    assert next_move(at(3), replace(failing, old_ever=GOOD)).state is RolloutState.ROLLED_BACK


def test_a_version_that_never_serves_gets_nothing_and_goes_back() -> None:
    facts = replace(WELL, new_serves=False, gone_s=60, fault="Connection refused")
    assert next_move(rollout(), facts) == rollout()
    back = next_move(rollout(), replace(facts, elapsed_s=START_S))
    assert (back.state, back.reason) == (
        RolloutState.ROLLED_BACK,
        "no worker of version 2.0.0 serves: Connection refused",
    )


def test_a_version_that_lacks_a_tool_gets_nothing() -> None:
    back = next_move(rollout(), replace(WELL, missing=("look_up",)))
    assert (back.state, back.step) == (RolloutState.ROLLED_BACK, 0)


def test_a_version_that_is_gone_for_a_moment_is_waited_for_but_its_step_does_not_end() -> None:
    facts = replace(OVER, new_serves=False, gone_s=GONE_S / 2)
    assert next_move(at(1), facts) == at(1)


def test_a_step_does_not_end_before_all_have_told_what_they_counted() -> None:
    assert next_move(at(1), replace(OVER, is_current=False)) == at(1)


def test_few_requests_pass_without_evidence_or_pause_the_rollout() -> None:
    few = replace(OVER, new=Counts(12, 0, {0: 12}))
    assert (next_move(at(1), few).step, next_move(at(1), few).reason) == (
        2,
        "step 1 passed without evidence: 12 of 50 requests",
    )
    paused = next_move(at(1, order={"require_traffic": True}), few)
    assert (paused.state, paused.weight, paused.reason) == (
        RolloutState.PAUSED,
        10,
        "step 1 has seen 12 of 50 requests",
    )
    assert next_move(paused, replace(OVER, elapsed_s=9999)) == paused
    resumed = resume(paused, WELL)
    assert (resumed.state, resumed.step, resumed.lap) == (RolloutState.RUNNING, 1, paused.lap + 1)


def test_workers_that_do_not_take_the_order_to_leave_do_not_hold_the_rollout_up_for_ever() -> None:
    draining = at(3, is_draining=True)
    assert next_move(draining, replace(WELL, new=WORSE)) == draining, "it has passed"
    done = next_move(draining, replace(WELL, elapsed_s=DRAIN_ORDERED_S))
    assert done.state is RolloutState.COMPLETED
    assert done.reason == "2 workers of version 1.0.0 have not taken the order to leave"


@pytest.mark.parametrize(
    ("state", "is_draining", "taken"),
    [
        (RolloutState.RUNNING, False, {"pause", "promote", "rollback"}),
        (RolloutState.PAUSED, False, {"resume", "promote", "rollback"}),
        (RolloutState.RUNNING, True, set()),
        (RolloutState.COMPLETED, True, set()),
        (RolloutState.ROLLED_BACK, False, set()),
        (RolloutState.FAILED, False, set()),
    ],
)
def test_each_state_takes_its_orders_and_no_others(state: RolloutState, taken: set[str], *, is_draining: bool) -> None:
    now = at(2, state=state, is_draining=is_draining)
    for name, order in ORDERS.items():
        if name in taken:
            assert order(now, WELL) != now
        else:
            with pytest.raises(OrderRefusedError):
                order(now, WELL)


def test_a_version_that_does_not_serve_is_not_promoted() -> None:
    with pytest.raises(OrderRefusedError):
        promote(at(1), replace(WELL, new_serves=False))


_COUNTS = st.builds(
    lambda requests, errors, bucket: Counts(requests, min(errors, requests), {bucket: requests} if requests else {}),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 76),
)
_FACTS = st.builds(
    Facts,
    elapsed_s=st.floats(0, 100),
    is_current=st.booleans(),
    new=_COUNTS,
    old=_COUNTS,
    old_ever=_COUNTS,
    new_serves=st.booleans(),
    old_serves=st.booleans(),
    gone_s=st.floats(0, 10),
    fault=st.none() | st.just("Process exited"),
    missing=st.just(()) | st.just(("look_up",)),
    restarts=st.integers(0, 3),
    breaker_open=st.booleans(),
    old_workers=st.integers(0, 3),
)
_ORDERS = st.none() | st.sampled_from(sorted(ORDERS))


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(sorted),
    st.booleans(),
    st.lists(st.tuples(_FACTS, _ORDERS), max_size=40),
)
def test_whatever_happens_the_weights_are_those_of_a_step_and_the_end_is_for_ever(
    steps: list[int],
    require_traffic: bool,
    happenings: list[tuple[Facts, str | None]],
) -> None:
    now = rollout(order={"steps": steps, "require_traffic": require_traffic})
    for facts, order in happenings:
        before = now
        now = next_move(now, facts)
        if order is not None:
            with suppress(OrderRefusedError):
                now = ORDERS[order](now, facts)
        assert sum(now.shares.values()) == 100
        assert now.weight in (0, 100, *steps)
        if before.state.is_over:
            assert now == before
        if now.state in (RolloutState.ROLLED_BACK, RolloutState.FAILED):
            assert now.weight == 0
            assert now.reason
        elif order is None and not now.is_draining:
            assert before.step <= now.step <= before.step + 1
            assert now.weight >= before.weight
