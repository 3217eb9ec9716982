"""A key's rate and its calls at once."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.limits import Limits
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.errors import RateLimitedError
from tests.support.clock import Clock


def _principal(name: str = "caller", *, rate: float | None = None, most: int | None = None) -> Principal:
    return Principal(
        id=name, scopes=frozenset({"query"}), servers=("*",), tools=("*",), rate_per_s=rate, max_in_flight=most
    )


def _is_admitted(limits: Limits, principal: Principal) -> bool:
    try:
        with limits.admit(principal):
            return True
    except RateLimitedError:
        return False


def test_a_principal_without_limits_is_always_admitted() -> None:
    limits = Limits(Clock())
    with ExitStack() as calls:
        for _ in range(1000):
            calls.enter_context(limits.admit(ANONYMOUS))


def test_as_many_calls_at_once_as_the_key_allows_and_no_more() -> None:
    limits, caller = Limits(Clock()), _principal(most=2)
    with limits.admit(caller), limits.admit(caller):
        assert not _is_admitted(limits, caller)
    assert _is_admitted(limits, caller)


def test_a_call_that_fails_gives_its_place_back() -> None:
    limits, caller = Limits(Clock()), _principal(most=1)
    with pytest.raises(ZeroDivisionError), limits.admit(caller):
        raise ZeroDivisionError
    assert _is_admitted(limits, caller)


def test_a_refused_call_takes_neither_a_place_nor_a_token() -> None:
    limits, caller = Limits(clock := Clock()), _principal(rate=1, most=1)
    with limits.admit(caller):
        for _ in range(5):
            assert not _is_admitted(limits, caller)
        clock.now += 1
    assert _is_admitted(limits, caller)


def test_one_second_of_calls_may_come_at_once_and_the_next_is_told_when_to_come_back() -> None:
    limits, caller = Limits(clock := Clock()), _principal(rate=4)
    assert [_is_admitted(limits, caller) for _ in range(5)] == [True] * 4 + [False]
    with pytest.raises(RateLimitedError) as refusal, limits.admit(caller):
        pass
    assert refusal.value.retry_after_s == pytest.approx(0.25)
    clock.now += 0.25
    assert [_is_admitted(limits, caller) for _ in range(2)] == [True, False]


def test_a_rate_below_one_a_second_lets_one_call_in_and_tells_how_long_to_wait() -> None:
    limits, caller = Limits(Clock()), _principal(rate=0.01)
    assert _is_admitted(limits, caller)
    with pytest.raises(RateLimitedError) as refusal, limits.admit(caller):
        pass
    assert refusal.value.retry_after_s == pytest.approx(100)


def test_each_key_has_limits_of_its_own() -> None:
    limits = Limits(Clock())
    one, other = _principal("one", rate=1), _principal("other", rate=1)
    assert _is_admitted(limits, one)
    assert not _is_admitted(limits, one)
    assert _is_admitted(limits, other)


@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_over_any_stretch_no_more_calls_come_in_than_the_rate_and_one_burst(rate: float, pauses: list[float]) -> None:
    limits, caller = Limits(clock := Clock()), _principal(rate=rate)
    began, admitted = clock.now, 0
    for pause in pauses:
        clock.now += pause
        admitted += _is_admitted(limits, caller)
        assert admitted <= (clock.now - began) * rate + max(1.0, rate) + 1e-6
