"""Calls are dealt out by weight, exact to one call, and only to the versions that may have traffic."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.weights import SmoothWeightedRoundRobin
from services.runtime.rollouts import effective_weights

_VERSIONS = ["1.0.0", "1.1.0", "2.0.0", "3.0.0"]
_WEIGHTS = st.dictionaries(st.sampled_from(_VERSIONS), st.integers(0, 100), min_size=1).filter(
    lambda weights: any(weights.values())
)


def test_calls_are_spread_evenly() -> None:
    turns = SmoothWeightedRoundRobin()
    assert [turns.choose({"a": 3, "b": 1}) for _ in range(8)] == ["a", "a", "b", "a"] * 2


@given(_WEIGHTS, st.integers(1, 300))
def test_after_any_number_of_calls_each_version_has_its_share_to_within_one_call(
    weights: dict[str, int], calls: int
) -> None:
    turns = SmoothWeightedRoundRobin()
    total = sum(weights.values())
    taken: Counter[str] = Counter()
    for done in range(1, calls + 1):
        taken[turns.choose(weights)] += 1
        for version, weight in weights.items():
            # With two versions, as in every rollout, the share is exact to one call; each further one may add one.
            assert abs(taken[version] - done * weight / total) < max(1, len(weights) - 1)


@given(st.integers(1, 99), st.integers(0, 300), st.integers(1, 100))
def test_any_window_of_calls_between_two_versions_is_exact_to_one_call(new: int, skipped: int, window: int) -> None:
    weights = {"old": 100 - new, "new": new}
    turns = SmoothWeightedRoundRobin()
    for _ in range(skipped):
        turns.choose(weights)
    taken = Counter(turns.choose(weights) for _ in range(window))
    assert abs(taken["new"] - window * new / 100) <= 1


@given(st.lists(_WEIGHTS, min_size=1, max_size=20))
def test_a_version_without_weight_gets_nothing_however_weights_change(steps: list[dict[str, int]]) -> None:
    turns = SmoothWeightedRoundRobin()
    for weights in steps:
        for _ in range(5):
            assert weights[turns.choose(weights)] > 0


@given(_WEIGHTS)
def test_versions_of_equal_weight_take_turns(weights: dict[str, int]) -> None:
    equal = dict.fromkeys(weights, 1)
    turns = SmoothWeightedRoundRobin()
    chosen = [turns.choose(equal) for _ in range(3 * len(equal))]
    assert len(equal) == 1 or all(before != after for before, after in pairwise(chosen))


@pytest.mark.parametrize(
    ("rollout", "live", "first", "expected"),
    [
        ({}, ["1", "2"], "2", {"2": 100}),
        ({}, ["2"], "2", {"2": 100}),
        ({"1": 90, "2": 10}, ["1", "2"], "1", {"1": 90, "2": 10}),
        ({"1": 100, "2": 0}, ["1", "2"], "2", {"1": 100}),
        ({"1": 100, "2": 0}, ["2"], "2", {"2": 100}),
        ({"1": 100}, ["1", "3"], "3", {"1": 100}),
        ({"1": 100}, ["3"], "3", {"3": 100}),
        ({}, [], None, {}),
    ],
    ids=[
        "none known: the first started",
        "one version",
        "a rollout",
        "rolled back",
        "no other version lives",
        "a version beside the rollout",
        "only a version beside the rollout lives",
        "nothing lives",
    ],
)
def test_a_version_has_traffic_through_a_rollout_or_when_no_other_lives(
    rollout: dict[str, float], live: list[str], first: str | None, expected: dict[str, float]
) -> None:
    assert effective_weights(rollout, live, first) == expected


@given(st.integers(1, 99), st.integers(0, 300), st.integers(1, 99), st.integers(1, 100))
def test_each_step_is_exact_to_one_call_whatever_the_weights_were_before(
    before: int, skipped: int, new: int, window: int
) -> None:
    turns = SmoothWeightedRoundRobin()
    for _ in range(skipped):
        turns.choose({"old": 100 - before, "new": before})
    weights = {"old": 100 - new, "new": new}
    taken = Counter(turns.choose(weights) for _ in range(window))
    assert abs(taken["new"] - window * new / 100) <= 1
