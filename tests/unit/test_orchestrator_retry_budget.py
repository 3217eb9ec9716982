"""How many calls may be sent again."""

from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.retry_budget import RetryBudget
from tests.support.clock import Clock


def taken(budget: RetryBudget, most: int = 1000) -> int:
    """How many can be taken now."""
    return next((count for count in range(most) if not budget.take()), most)


def test_a_few_may_be_sent_again_however_few_calls_there_are() -> None:
    budget = RetryBudget(Clock())
    budget.count_call()
    assert taken(budget) == 10


def test_beyond_these_it_is_a_fifth_of_the_calls() -> None:
    budget = RetryBudget(Clock())
    for _ in range(500):
        budget.count_call()
    assert taken(budget) == 10 + 100


def test_what_is_older_than_ten_seconds_counts_neither_way() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(500):
        budget.count_call()
    clock.now += 9
    assert taken(budget) == 110
    clock.now += 1
    assert taken(budget) == 0  # the calls are gone, what was taken is not
    clock.now += 9
    assert taken(budget) == 10


@given(st.lists(st.tuples(st.sampled_from(["call", "fail"]), st.floats(0, 3)), max_size=300))
def test_in_no_ten_seconds_is_more_sent_again_than_a_fifth_of_twenty_seconds_calls_and_ten(
    events: list[tuple[str, float]],
) -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    calls: list[float] = []
    repeats: list[float] = []
    for kind, wait_s in events:
        clock.now += wait_s
        if kind == "call":
            budget.count_call()
            calls.append(clock.now)
        elif budget.take():
            repeats.append(clock.now)
        window = [at for at in repeats if at > clock.now - 9]
        assert len(window) <= 10 + 0.2 * len([at for at in calls if at > clock.now - 20])
