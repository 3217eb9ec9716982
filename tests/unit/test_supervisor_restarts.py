"""When a process that died is started again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.supervisor.restarts import LONGEST_DELAY_S, STABLE_AFTER_S, deaths_after, restart_delay_s


def test_the_first_death_is_followed_by_a_start_at_once() -> None:
    assert restart_delay_s(1) == 0.0


@pytest.mark.parametrize(("deaths", "delay_s"), [(2, 0.2), (3, 0.4), (4, 0.8), (5, 1.6), (8, 12.8), (9, 15.0)])
def test_further_deaths_double_the_wait_up_to_15_s(deaths: int, delay_s: float) -> None:
    assert restart_delay_s(deaths) == pytest.approx(delay_s)


@given(st.integers(min_value=1, max_value=10**9))
def test_the_wait_never_shrinks_and_never_exceeds_15_s(deaths: int) -> None:
    assert restart_delay_s(deaths) <= restart_delay_s(deaths + 1) <= LONGEST_DELAY_S


def test_a_process_that_was_stable_is_counted_anew() -> None:
    assert deaths_after(7, ran_s=STABLE_AFTER_S) == 1


def test_a_process_that_was_not_stable_is_counted_on() -> None:
    assert deaths_after(7, ran_s=STABLE_AFTER_S - 0.1) == 8
