"""One breaker, in one orchestrator: when it opens, who is let through then, what closes it."""

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest

from bus_schemas.workers import ServerFault, WorkerState
from services.orchestrator.breaker.guard import FAILURES
from services.orchestrator.dispatch import WorkerFailedError
from services.runtime.config.policy import Policy, ServerPolicy
from services.runtime.errors import (
    CircuitOpenError,
    DeadlineExceededError,
    OverloadedError,
    QueryError,
    UpstreamError,
    UpstreamRefusedError,
)
from tests.support.breaking import OPEN_S, Clock, Replica, Replicas

pytestmark = pytest.mark.anyio

POLICY = Policy(servers={"a": ServerPolicy(version="1.0.0", timeout_s=20)})


@pytest.fixture
def replicas(monkeypatch: pytest.MonkeyPatch) -> Replicas:
    return Replicas(Clock.ruling(monkeypatch), POLICY)


@pytest.fixture
def one(replicas: Replicas) -> Replica:
    return replicas.add("one")


def open_it(replica: Replica) -> None:
    for _ in range(FAILURES):
        replica.call(UpstreamError())


def is_open(replica: Replica) -> bool:
    return replica.refusal() is not None


def test_it_opens_on_the_fifth_failure_in_a_row(one: Replica) -> None:
    for _ in range(4):
        one.call(UpstreamError())
        assert one.state() == 0
    one.call(UpstreamError())
    assert one.state() == 1
    assert is_open(one)


def test_a_success_between_failures_begins_the_count_anew(one: Replica) -> None:
    for error in [*[UpstreamError()] * 4, None, *[UpstreamError()] * 4]:
        one.call(error)
    assert not is_open(one)


def test_a_refusal_by_the_server_begins_the_count_anew(one: Replica) -> None:
    for error in [*[UpstreamError()] * 4, UpstreamRefusedError(), *[UpstreamError()] * 4]:
        one.call(error)
    assert not is_open(one)


@pytest.mark.parametrize("nothing", [asyncio.CancelledError(), OverloadedError(), WorkerFailedError()])
def test_what_says_nothing_of_the_server_keeps_the_count(one: Replica, nothing: BaseException) -> None:
    for _ in range(4):
        one.call(UpstreamError())
    with suppress(asyncio.CancelledError):
        one.call(nothing)
    assert one.state() == 0
    one.call(UpstreamError())
    assert is_open(one)


def test_timeouts_of_callers_that_gave_too_little_time_do_not_open_it(one: Replica) -> None:
    for _ in range(20):
        one.call(DeadlineExceededError(), left_s=17.9)
    assert one.state() == 0
    for _ in range(5):
        one.call(DeadlineExceededError(), left_s=18)
    assert one.state() == 1


async def test_any_timeout_counts_while_the_probe_of_the_worker_that_had_the_call_fails(replicas: Replicas) -> None:
    one = replicas.add("one")
    well, ill = await replicas.announced.join("a"), await replicas.announced.join("a")
    await replicas.announced.beat(ill, WorkerState.UNAVAILABLE, fault=ServerFault.NOT_RESPONDING)

    def timeout(holder: str | None) -> QueryError:
        error = DeadlineExceededError()
        error.holder = holder
        return error

    for holder in [well.instance] * 5 + [None] * 5:
        one.call(timeout(holder), left_s=0.2)
    assert one.state() == 0
    for _ in range(5):
        one.call(timeout(ill.instance), left_s=0.2)
    assert one.state() == 1


@pytest.mark.parametrize(("jitter", "open_s"), [(0.0, 30.0), (0.5, 31.5), (1.0, 33.0)])
def test_it_stays_open_for_30_to_33_seconds_and_says_what_is_left(
    replicas: Replicas, jitter: float, open_s: float
) -> None:
    one = replicas.add("one", jitter=jitter)
    open_it(one)
    replicas.clock.now += 10
    refused = one.refusal()
    assert refused is not None
    assert refused.retry_after_s == pytest.approx(open_s - 10)
    replicas.clock.now += open_s - 10 - 0.001
    assert is_open(one)
    replicas.clock.now += 0.001
    assert one.state() == 2
    assert not is_open(one)


async def test_of_fifty_calls_one_is_the_probe_and_the_others_are_refused(one: Replica) -> None:
    open_it(one)
    one.clock.now += OPEN_S
    go, let_through, refusals = asyncio.Event(), 0, list[CircuitOpenError]()

    async def call() -> None:
        nonlocal let_through
        try:
            with one.board.guarding("a", "1.0.0", one.clock.now + 30):
                let_through += 1
                await go.wait()
        except CircuitOpenError as error:
            refusals.append(error)

    tasks = [asyncio.create_task(call()) for _ in range(50)]
    while let_through + len(refusals) < 50:
        await asyncio.sleep(0)
    assert (let_through, len(refusals), one.state()) == (1, 49, 2)
    assert {error.retry_after_s for error in refusals} == {1}
    go.set()
    await asyncio.gather(*tasks)
    assert one.state() == 0
    assert not is_open(one)
    assert one.registry.get_sample_value("mcp_circuit_breaker_refused_total", {"server": "a", "version": "1.0.0"}) == 49


def test_asking_whether_it_would_let_a_call_through_is_no_probe(one: Replica) -> None:
    assert one.board.lets_through("a", "1.0.0")
    open_it(one)
    assert not one.board.lets_through("a", "1.0.0")
    one.clock.now += OPEN_S
    one.said()
    assert [one.board.lets_through("a", "1.0.0") for _ in range(2)] == [True, True]
    assert one.said() == []
    with one.slow_call(fails=False):
        assert not one.board.lets_through("a", "1.0.0")
    assert one.board.lets_through("a", "1.0.0")


def test_a_call_that_is_only_checked_is_counted_as_refused_and_changes_nothing(one: Replica) -> None:
    one.board.check("a", "1.0.0")
    open_it(one)
    one.said()
    with pytest.raises(CircuitOpenError) as refused:
        one.board.check("a", "1.0.0")
    assert refused.value.retry_after_s == pytest.approx(OPEN_S)
    assert one.registry.get_sample_value("mcp_circuit_breaker_refused_total", {"server": "a", "version": "1.0.0"}) == 1
    one.clock.now += OPEN_S
    for _ in range(2):
        one.board.check("a", "1.0.0")
    assert one.said() == []


def test_a_probe_that_fails_opens_it_for_the_whole_time_again(one: Replica) -> None:
    open_it(one)
    one.clock.now += OPEN_S
    one.call(UpstreamError())
    one.clock.now += OPEN_S - 0.001
    assert is_open(one)
    one.clock.now += 0.001
    one.call()
    assert one.state() == 0


def test_after_it_has_closed_five_in_a_row_open_it_again(one: Replica) -> None:
    open_it(one)
    one.clock.now += OPEN_S
    one.call()
    for _ in range(4):
        one.call(UpstreamError())
    assert one.state() == 0
    one.call(UpstreamError())
    assert one.state() == 1


@pytest.mark.parametrize("nothing", [OverloadedError(), WorkerFailedError(), DeadlineExceededError()])
def test_a_probe_that_says_nothing_of_the_server_is_followed_by_another(one: Replica, nothing: QueryError) -> None:
    open_it(one)
    one.clock.now += OPEN_S
    one.call(nothing, left_s=1)
    assert one.state() == 2
    one.call()
    assert one.state() == 0


def test_a_success_that_began_before_it_opened_does_not_close_it(one: Replica) -> None:
    with one.slow_call(fails=False):
        open_it(one)
    assert one.state() == 1
    assert is_open(one)


def test_a_failure_that_began_before_it_opened_does_not_keep_it_open(one: Replica) -> None:
    with one.slow_call(fails=True):
        open_it(one)
        one.clock.now += 20
    one.clock.now += 10
    assert not is_open(one)


def test_a_failure_that_began_before_the_probe_does_not_fail_the_probe(one: Replica) -> None:
    with one.slow_call(fails=True):
        open_it(one)
        one.clock.now += OPEN_S
        one.call()
    assert one.state() == 0
    for _ in range(4):
        one.call(UpstreamError())
    assert not is_open(one)


def test_a_stuck_probe_is_followed_by_another_and_its_outcome_is_dropped(one: Replica) -> None:
    open_it(one)
    one.clock.now += OPEN_S
    with one.slow_call(fails=True):
        one.clock.now += 20.999  # a second more than the server may take
        assert is_open(one)
        one.clock.now += 0.001
        one.call()
        assert one.state() == 0
    assert one.state() == 0


async def test_a_worker_that_rejoins_permits_a_probe_at_once(replicas: Replicas) -> None:
    one = replicas.add("one")
    worker = await replicas.announced.join("a")
    open_it(one)
    await replicas.announced.beat(worker)
    assert is_open(one), "it was there all the time"
    await replicas.announced.beat(worker, WorkerState.UNAVAILABLE)
    assert is_open(one)
    await replicas.announced.beat(worker)
    assert one.state() == 2
    one.call(UpstreamError())
    assert is_open(one), "one probe, no more"
    await replicas.announced.join("a")
    one.call()
    assert one.state() == 0


async def test_a_worker_that_rejoins_while_a_probe_is_on_its_way_permits_no_other(replicas: Replicas) -> None:
    one = replicas.add("one")
    open_it(one)
    one.clock.now += OPEN_S
    with one.slow_call(fails=False):
        await replicas.announced.join("a")
        assert is_open(one)
    assert one.state() == 0


async def test_a_session_that_is_replaced_between_two_heartbeats_counts_as_rejoining(replicas: Replicas) -> None:
    one = replicas.add("one")
    worker = await replicas.announced.join("a")
    open_it(one)
    await replicas.announced.beat(worker, restarts=1)
    assert not is_open(one)


@pytest.mark.parametrize(("server", "version"), [("b", "1.0.0"), ("a", "2.0.0")])
async def test_a_worker_of_another_server_or_version_permits_none(
    replicas: Replicas, server: str, version: str
) -> None:
    one = replicas.add("one")
    open_it(one)
    await replicas.announced.join(server, version)
    assert is_open(one)


def test_versions_and_servers_have_breakers_of_their_own(one: Replica) -> None:
    open_it(one)
    assert one.refusal(version="2.0.0") is None
    assert one.refusal(server="b") is None


def test_an_open_breaker_keeps_no_error_in_memory(one: Replica) -> None:
    error = UpstreamError()
    kept = weakref.ref(error)
    for _ in range(5):
        one.call(error)
    del error
    gc.collect()
    assert kept() is None


def test_the_metrics_of_a_configured_server_are_there_before_its_first_call_and_count_each_change(one: Replica) -> None:
    breaker = {"server": "a", "version": "1.0.0"}

    def changes(state: str) -> float | None:
        return one.registry.get_sample_value("mcp_circuit_breaker_transitions_total", {**breaker, "state": state})

    assert (one.state(), changes("open"), changes("isolated")) == (0, 0, 0)
    assert one.registry.get_sample_value("mcp_circuit_breaker_refused_total", breaker) == 0
    open_it(one)
    one.clock.now += OPEN_S
    one.call(OverloadedError())
    one.call(UpstreamError())
    one.clock.now += OPEN_S
    one.call()
    assert (changes("open"), changes("half_open"), changes("closed")) == (2, 2, 1)
