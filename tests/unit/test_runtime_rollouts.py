"""Which word on a server's weights holds: the newest one, from whoever it comes."""

from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.rollouts import RolloutWeights
from services.runtime.rollouts import RolloutWords
from tests.support.clock import Clock


def word(epoch: int, by: str = "x", *, new: float = 10) -> RolloutWeights:
    return RolloutWeights(
        server="a", weights={"1.0.0": 100 - new, "2.0.0": new}, epoch=epoch, updated_at=0.0, by=by, under_way=True
    )


def test_without_a_word_there_are_no_weights() -> None:
    words = RolloutWords()
    assert words.weights("a") == {}
    assert words.of("a") is None
    assert not words.is_under_way("a")


def test_the_newer_word_holds_and_of_equals_the_one_whose_by_sorts_last() -> None:
    words = RolloutWords()
    assert words.take(word(5, "b", new=10))
    assert not words.take(word(4, "z", new=90))
    assert not words.take(word(5, "a", new=90))
    assert not words.take(word(5, "b", new=90))
    assert words.weights("a") == {"1.0.0": 90, "2.0.0": 10}
    assert words.take(word(5, "c", new=50))
    assert words.weights("a")["2.0.0"] == 50
    assert words.is_under_way("a")


def test_the_next_word_is_above_the_known_one_also_by_a_clock_that_is_behind() -> None:
    clock = Clock()
    words = RolloutWords(clock)
    assert words.next("a", {"1.0.0": 100}, under_way=False, by="x").epoch == clock.now * 1000
    words.take(word(10**15))
    following = words.next("a", {"1.0.0": 100}, under_way=False, by="x")
    assert following.epoch == 10**15 + 1
    assert words.take(following)
    assert not words.is_under_way("a")


@given(st.permutations([word(epoch, by, new=epoch) for epoch in (1, 2, 3) for by in ("a", "b")]))
def test_in_whichever_order_words_come_all_end_with_the_same(said: list[RolloutWeights]) -> None:
    words = RolloutWords()
    for one in said:
        words.take(one)
    assert words.told() == [word(3, "b", new=3)]
