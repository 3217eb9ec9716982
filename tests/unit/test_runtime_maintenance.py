"""Which word on a server holds: the newest one, as long as its time is not over."""

import pytest
from pydantic import ValidationError

from bus_schemas.maintenance import LATEST_S, MaintenanceChanged
from services.admin.moments import moment
from services.runtime.maintenance import MaintenanceWords


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def words(clock: Clock) -> MaintenanceWords:
    return MaintenanceWords(clock)


def taken_out(words: MaintenanceWords, server: str = "a", *, until: float | None = None) -> MaintenanceChanged:
    """What is said when an operator takes a server out."""
    return words.next(server, is_out=True, until=until, reason="moving", by="admin1")


def put_back(words: MaintenanceWords, server: str = "a") -> MaintenanceChanged:
    """What is said when an operator puts it back."""
    return words.next(server, is_out=False, until=None, reason="", by="admin1")


def test_a_server_is_out_until_it_is_put_back(words: MaintenanceWords, clock: Clock) -> None:
    assert words.of("a") is None
    out = taken_out(words)
    assert words.take(out)
    clock.now += 1e6
    assert words.of("a") == out
    assert words.left_s(out) is None
    assert words.out() == {"a"}
    assert words.of("b") is None

    assert words.take(put_back(words))
    assert (words.of("a"), words.out()) == (None, frozenset())


def test_a_server_comes_back_by_itself_when_the_time_is_over(words: MaintenanceWords, clock: Clock) -> None:
    out = taken_out(words, until=1060.0)
    words.take(out)
    clock.now = 1059.5
    assert words.of("a") == out
    assert words.left_s(out) == 0.5
    clock.now = 1060.0
    assert (words.of("a"), words.out()) == (None, frozenset())


def test_the_newest_word_holds_in_whichever_order_they_come(words: MaintenanceWords, clock: Clock) -> None:
    said = MaintenanceWords(clock)
    first = taken_out(said)
    said.take(first)
    clock.now += 5
    second = put_back(said)

    assert words.take(second)
    assert not words.take(first)
    assert not words.take(second)
    assert words.of("a") is None


def test_of_two_that_are_said_at_once_all_choose_the_same(clock: Clock) -> None:
    one = taken_out(MaintenanceWords(clock))
    other = put_back(MaintenanceWords(clock)).model_copy(update={"by": "admin2"})
    assert one.epoch == other.epoch
    for order in ((one, other), (other, one)):
        words = MaintenanceWords(clock)
        for word in order:
            words.take(word)
        assert words.of("a") is None


def test_a_clock_that_is_behind_does_not_make_a_new_word_old(words: MaintenanceWords, clock: Clock) -> None:
    words.take(taken_out(words))
    clock.now -= 500
    assert words.take(put_back(words))
    assert words.of("a") is None


def test_a_moment_that_cannot_be_told_as_a_date_is_in_no_word(words: MaintenanceWords) -> None:
    latest = taken_out(words, until=LATEST_S)
    assert moment(latest.until) is not None
    with pytest.raises(ValueError, match="year 10000"):
        moment(LATEST_S + 1)
    with pytest.raises(ValidationError):
        taken_out(words, until=LATEST_S + 0.1)


def test_words_that_are_over_are_told_to_those_who_may_know_older_ones(words: MaintenanceWords, clock: Clock) -> None:
    words.take(taken_out(words))
    words.take(put_back(words))
    words.take(taken_out(words, "b", until=1001.0))
    clock.now = 2000.0
    assert {word.server: word.is_out for word in words.told()} == {"a": False, "b": True}
