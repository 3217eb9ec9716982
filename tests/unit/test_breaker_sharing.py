"""One breaker in several orchestrators: who refuses, who probes, what a lost word does, what an operator can do."""

import pytest

from bus_schemas.breakers import ADMIN, BreakerChanged, BreakerState
from services.orchestrator.breaker.guard import FAILURES, TAKE_OVER_AFTER_S
from services.runtime.config.policy import Policy, ServerPolicy
from services.runtime.errors import UpstreamError
from tests.support.breaking import OPEN_S, Clock, Replica, Replicas

pytestmark = pytest.mark.anyio

POLICY = Policy(servers={"a": ServerPolicy(version="1.0.0", timeout_s=20)})


class Pair(Replicas):
    """Two orchestrators."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, POLICY)
        self.one, self.two = self.add("one"), self.add("two")

    def open(self, replica: Replica | None = None) -> None:
        for _ in range(FAILURES):
            (replica or self.one).call(UpstreamError())
        self.share()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(Clock.ruling(monkeypatch))


def isolated(server: str = "a", *, for_s: float = 600.0, epoch: int = 0) -> BreakerChanged:
    return BreakerChanged(
        server=server, state=BreakerState.ISOLATED, epoch=epoch, open_ms=round(for_s * 1000), by=ADMIN, reason="moving"
    )


def reset(server: str = "a") -> BreakerChanged:
    return BreakerChanged(server=server, state=BreakerState.CLOSED, epoch=0, by=ADMIN)


def tell(pair: Replicas, word: BreakerChanged) -> None:
    for replica in pair.all:
        replica.hear(word)


def test_the_others_refuse_with_the_one_that_opened_it_and_say_what_is_left(pair: Pair) -> None:
    pair.open()
    pair.clock.now += 10
    refused = pair.two.refusal()
    assert refused is not None
    assert refused.retry_after_s == OPEN_S - 10
    assert (pair.one.state(), pair.two.state()) == (1, 1)


def test_the_one_that_opened_it_probes_and_the_others_are_open_again_with_it(pair: Pair) -> None:
    pair.open()
    pair.clock.now += OPEN_S
    assert pair.two.refusal() is not None, "the probe is not its"
    with pair.one.slow_call(fails=False):
        pair.share()
        assert pair.two.refusal() is not None
        assert pair.one.refusal() is not None
    pair.share()
    assert (pair.one.state(), pair.two.state()) == (0, 0)
    assert pair.two.refusal() is None


def test_a_probe_that_fails_opens_it_everywhere_again(pair: Pair) -> None:
    pair.open()
    pair.clock.now += OPEN_S
    pair.one.call(UpstreamError())
    pair.share()
    pair.clock.now += OPEN_S - 1
    assert pair.two.refusal() is not None
    pair.clock.now += TAKE_OVER_AFTER_S
    assert pair.two.refusal() is not None


def test_another_takes_the_probe_ten_seconds_later_if_the_first_has_died(pair: Pair) -> None:
    pair.open()
    pair.clock.now += OPEN_S + TAKE_OVER_AFTER_S - 0.001
    assert pair.two.refusal() is not None
    pair.clock.now += 0.001
    with pair.two.slow_call(fails=False):
        pair.share()
        assert pair.one.refusal() is not None, "the probe is not its any more"
    pair.share()
    assert (pair.one.state(), pair.two.state()) == (0, 0)


def test_who_takes_the_probe_over_and_fails_opens_it_for_the_whole_time_and_probes_next(pair: Pair) -> None:
    pair.open()
    pair.clock.now += OPEN_S + TAKE_OVER_AFTER_S
    pair.two.call(UpstreamError())
    pair.share()
    assert (pair.one.state(), pair.two.state()) == (1, 1)
    pair.clock.now += OPEN_S - 0.001
    assert pair.two.refusal() is not None
    pair.clock.now += 0.001
    assert pair.one.refusal() is not None
    assert pair.two.refusal() is None


def test_of_two_that_open_it_at_the_same_moment_one_probes(pair: Pair) -> None:
    for replica in pair.all:
        for _ in range(FAILURES):
            replica.call(UpstreamError())
    pair.share()
    pair.clock.now += OPEN_S
    assert [replica.refusal() is None for replica in pair.all] == [False, True]
    pair.share()
    assert (pair.one.state(), pair.two.state()) == (0, 0)
    for replica in pair.all:
        for _ in range(FAILURES - 1):
            replica.call(UpstreamError())
        assert replica.state() == 0, "it begins to count anew"


@pytest.mark.parametrize("fails", [True, False])
def test_what_was_in_flight_elsewhere_when_it_opened_is_dropped(pair: Pair, *, fails: bool) -> None:
    for _ in range(FAILURES - 1):
        pair.two.call(UpstreamError())
    with pair.two.slow_call(fails=fails):
        pair.open(pair.one)
    assert pair.two.said() == []
    assert pair.two.refusal() is not None


def test_when_it_closes_the_others_begin_to_count_anew(pair: Pair) -> None:
    for _ in range(FAILURES - 1):
        pair.two.call(UpstreamError())
    pair.open()
    pair.clock.now += OPEN_S
    pair.one.call()
    pair.share()
    for _ in range(FAILURES - 1):
        pair.two.call(UpstreamError())
    assert pair.two.state() == 0


def test_who_has_missed_that_it_closed_probes_for_itself(pair: Pair) -> None:
    pair.open()
    pair.clock.now += OPEN_S
    pair.one.call()
    pair.one.said()  # and nobody hears it
    assert pair.two.refusal() is not None
    pair.clock.now += TAKE_OVER_AFTER_S
    assert pair.two.refusal() is None
    assert pair.two.state() == 0


def test_who_has_missed_that_it_opened_counts_for_itself(pair: Pair) -> None:
    for _ in range(FAILURES):
        pair.one.call(UpstreamError())
    pair.one.said()
    assert pair.two.refusal() is None
    pair.clock.now += 1
    pair.open(pair.two)
    assert (pair.one.state(), pair.two.state()) == (1, 1)


def test_a_late_word_of_a_time_that_is_over_changes_nothing(pair: Pair) -> None:
    for _ in range(FAILURES):
        pair.one.call(UpstreamError())
    late = pair.one.said()
    pair.two.hear(*late)
    pair.clock.now += OPEN_S
    pair.one.call()
    pair.share()
    pair.two.hear(*late)
    assert pair.two.state() == 0


def test_a_clock_that_is_behind_does_not_make_news_old(pair: Pair) -> None:
    pair.open()
    pair.clock.now += OPEN_S
    # As if its clock had been set back since: the epoch is one above the highest known.
    pair.one.words._wall_clock = lambda: 0.0
    pair.one.call()
    pair.share()
    assert pair.two.state() == 0


async def test_when_a_worker_rejoins_the_one_that_opened_it_probes_at_once_and_the_others_leave_it_to_it(
    pair: Pair,
) -> None:
    pair.open()
    await pair.announced.join("a")
    assert pair.two.refusal() is not None
    assert pair.one.refusal() is None
    pair.share()
    assert pair.two.refusal() is None


def test_a_new_orchestrator_refuses_with_the_others(pair: Pair) -> None:
    pair.open()
    pair.clock.now += 10
    new = pair.add("three")
    for word in pair.two.board.told():
        new.words.remember(word)
    refused = new.refusal()
    assert refused is not None
    assert refused.retry_after_s == OPEN_S - 10


def test_that_it_never_opened_elsewhere_does_not_touch_the_count(pair: Pair) -> None:
    for _ in range(FAILURES - 1):
        pair.one.call(UpstreamError())
    for word in pair.two.board.told():
        if pair.one.words.remember(word):
            pair.one.board.heard(word)
    pair.one.call(UpstreamError())
    assert pair.one.state() == 1


def test_what_is_told_holds_every_known_breaker_also_one_that_never_changed(pair: Pair) -> None:
    assert [(word.version, word.state) for word in pair.one.board.told()] == [("1.0.0", BreakerState.CLOSED)]
    pair.one.call(version="2.0.0")
    pair.open()
    told = {word.version: word for word in pair.two.board.told()}
    assert told["1.0.0"].state is BreakerState.OPEN
    assert (told["1.0.0"].by, told["1.0.0"].opened_at) == ("one", 1000.0)
    assert {word.version for word in pair.one.board.told()} == {"1.0.0", "2.0.0"}


async def test_an_operator_isolates_every_version_of_a_server_for_a_time(pair: Pair) -> None:
    tell(pair, isolated(for_s=60))
    for replica in pair.all:
        for version in ("1.0.0", "2.0.0"):
            refused = replica.refusal(version=version)
            assert refused is not None
            assert refused.retry_after_s == 60
        assert replica.refusal(server="b") is None
        assert replica.state() == 3
    await pair.announced.join("a")
    pair.clock.now += 59
    assert pair.one.refusal() is not None, "no probe while it is isolated"
    pair.clock.now += 1
    assert (pair.one.refusal(), pair.one.state()) == (None, 0)


def test_an_isolation_holds_over_what_others_say_meanwhile(pair: Pair) -> None:
    pair.one.hear(isolated())
    pair.clock.now += 1
    pair.open(pair.two)  # which has not heard of it
    assert pair.one.state() == 3


def test_an_isolation_that_is_over_leaves_nothing_of_what_was_before(pair: Pair) -> None:
    pair.open()
    tell(pair, isolated(for_s=1))
    pair.clock.now += 1
    for replica in pair.all:
        for _ in range(FAILURES - 1):
            replica.call(UpstreamError())
        assert replica.state() == 0


@pytest.mark.parametrize("is_isolated", [True, False])
def test_an_operator_resets_what_is_open_or_isolated_whatever_its_clock_says(pair: Pair, *, is_isolated: bool) -> None:
    pair.open()
    if is_isolated:
        tell(pair, isolated())
    tell(pair, reset())
    for replica in pair.all:
        for _ in range(FAILURES - 1):
            replica.call(UpstreamError())
        assert replica.state() == 0
        replica.call(UpstreamError())
        assert replica.state() == 1, "and it counts again"


def test_an_orchestrator_cannot_speak_for_every_version(pair: Pair) -> None:
    tell(pair, isolated().model_copy(update={"by": "one"}))
    assert pair.two.refusal() is None
