"""A new version fails where it certainly does worse, and only there: the table, and chance itself."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.latencies import LAST_BUCKET, bucket_ends_ms, latency_bucket
from services.admin.rollouts.gate import Counts, find_errors, find_slowness


def find_fault(new: Counts, old: Counts, *, is_early: bool = False) -> str | None:
    """As at the end of a step, with the limits that are the default."""
    return find_errors(new, old, 0.01) or find_slowness(new, old, 1.5, is_early=is_early)


def counted(requests: int, errors: int = 0, *, ms: float = 10.0, in_flight: dict[float, int] | None = None) -> Counts:
    """Requests that all took as long; `in_flight` is how many have taken how many milliseconds so far."""
    ages = {latency_bucket(age / 1000): count for age, count in (in_flight or {}).items()}
    return Counts(requests, errors, {latency_bucket(ms / 1000): requests} if requests else {}, ages)


def measured(times_ms: list[float], errors: int = 0) -> Counts:
    return Counts(len(times_ms), errors, Counter(latency_bucket(ms / 1000) for ms in times_ms))


@pytest.mark.parametrize(
    ("new", "old", "fails"),
    [
        (counted(100, 3), counted(900), False),
        (counted(100, 4), counted(900), True),
        (counted(1000, 12), counted(9000), False),
        (counted(1000, 13), counted(9000), True),
        (counted(3, 3), counted(900), False),
        (counted(4, 4), counted(900), True),
        (counted(100, 8), counted(900, 45), False),
        (counted(1000, 50), counted(9000, 450), False),
        (counted(1000, 110), counted(9000, 450), True),
        (counted(100, 4), counted(0), True),
        (counted(0), counted(900, 900), False),
    ],
    ids=[
        "two above",
        "three above",
        "two above, of many",
        "three above, of many",
        "three of three: two and some above",
        "every one",
        "as often as the old one, and chance",
        "exactly as often as the old one",
        "twice as often as the old one",
        "nothing to compare with",
        "no requests",
    ],
)
def test_errors_fail_a_step_when_three_are_above_what_is_allowed(new: Counts, old: Counts, *, fails: bool) -> None:
    fault = find_fault(new, old)
    assert (fault is not None) is fails
    if fault is not None:
        assert f"{new.errors} of {new.requests} requests failed" in fault


@pytest.mark.parametrize(
    ("new", "old", "fails"),
    [
        (counted(50, ms=300), counted(450, ms=100), True),
        (counted(50, ms=120), counted(450, ms=100), False),
        (counted(50, ms=15), counted(450, ms=5), False),
        (counted(50, ms=40), counted(450, ms=5), True),
        (counted(0, in_flight={3000: 5}), counted(450, ms=100), True),
        (counted(0, in_flight={3000: 4}), counted(450, ms=100), False),
        (counted(4, ms=10, in_flight={3000: 1}), measured([10.0] * 440 + [2000.0] * 10), False),
        (counted(50, ms=100, in_flight={3000: 1}), counted(450, ms=100), False),
        (counted(50, ms=100, in_flight={3000: 20}), counted(450, ms=100), True),
        (counted(50, ms=100, in_flight={3000: 20}), counted(150, ms=100, in_flight={3000: 60}), False),
        (counted(50, ms=300), counted(0), False),
    ],
    ids=[
        "three times as slow",
        "within the ratio",
        "over the ratio, but by less than 20 ms",
        "over the ratio and by more than 20 ms",
        "nothing is answered",
        "hardly anything was asked",
        "one of few is slow, as under the old version",
        "one call hangs",
        "many calls hang",
        "as many hang under the old version",
        "nothing to compare with",
    ],
)
def test_times_fail_a_step_when_they_are_over_both_limits(new: Counts, old: Counts, *, fails: bool) -> None:
    assert (find_fault(new, old) is not None) is fails


def test_before_a_step_is_over_most_calls_have_to_be_slow() -> None:
    old = counted(900, ms=10)
    hiccup = measured([10.0] * 60 + [400.0] * 40)
    assert find_fault(hiccup, old, is_early=True) is None
    assert find_fault(hiccup, old) is not None
    assert find_fault(measured([10.0] * 40 + [400.0] * 60), old, is_early=True) is not None


@pytest.mark.parametrize("seed", range(20))
def test_a_good_version_with_noisy_times_and_errors_is_never_failed_however_often_one_looks(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for share in (0.1, 0.5):
        new, old = Counter[int](), Counter[int]()
        errors = Counter[str]()
        for number in range(1, 3001):
            is_new = number % round(1 / share) == 0
            # One call in a hundred takes seconds, and the rest is spread over two orders of magnitude.
            ms = chance.lognormvariate(3, 1) if chance.random() > 0.01 else chance.uniform(1000, 5000)
            (new if is_new else old)[latency_bucket(ms / 1000)] += 1
            errors["new" if is_new else "old"] += chance.random() < 0.02
            if number % 50 == 0:
                counts = [Counts(sum(one.values()), errors[name], one) for name, one in (("new", new), ("old", old))]
                assert find_fault(*counts) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_version_three_times_as_slow_fails_within_a_hundred_requests_of_it_though_times_are_noisy(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    old = measured([chance.lognormvariate(3, 0.7) for _ in range(900)])
    assert find_fault(measured([3 * chance.lognormvariate(3, 0.7) for _ in range(100)]), old) is not None


@given(st.integers(0, 500), st.integers(0, 5000), st.floats(0, 0.2))
def test_a_version_without_errors_never_fails_for_errors(requests: int, others: int, rate: float) -> None:
    assert find_fault(counted(requests), counted(others, round(others * rate))) is None


@given(st.lists(st.floats(0.5, 300_000), min_size=1, max_size=200))
def test_the_95th_percentile_is_right_to_within_a_bucket(times_ms: list[float]) -> None:
    exact = sorted(times_ms)[max(0, -(-len(times_ms) * 95 // 100) - 1)]
    lower, upper = bucket_ends_ms(latency_bucket(exact / 1000))
    assert lower <= measured(times_ms).p95_ms <= upper


@given(st.floats(0, 524))
def test_every_time_has_a_bucket_whose_ends_hold_it(duration_s: float) -> None:
    bucket = latency_bucket(duration_s)
    lower, upper = bucket_ends_ms(bucket)
    assert 0 <= bucket <= LAST_BUCKET
    assert lower * 0.999999 <= duration_s * 1000 <= upper * 1.000001


def test_what_no_clock_measures_is_in_the_last_bucket() -> None:
    assert latency_bucket(1e9) == LAST_BUCKET
