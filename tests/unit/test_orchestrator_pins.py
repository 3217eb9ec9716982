"""Who holds a caller's session, by the workers' reports; who is to hold the next; when it counts as lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.digests import caller_digest
from bus_schemas.workers import WorkerJoined
from services.orchestrator.pins import Pins, rendezvous
from tests.support.announced import AnnouncedFleet

pytestmark = pytest.mark.anyio

IDLE_S = 300.0


class World:
    """Three workers of one server, and what an orchestrator makes of their reports."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.announced = AnnouncedFleet()
        self.pins = Pins(self.announced.fleet, idle_s=IDLE_S, clock=lambda: self.now)

    async def join(self, server: str = "a") -> WorkerJoined:
        return await self.announced.join(server)

    async def hold(self, worker: WorkerJoined, *callers: str) -> WorkerJoined:
        """Let a worker report that it holds these callers and no others."""
        holding = worker.model_copy(update={"callers": [caller_digest(caller) for caller in callers]})
        await self.announced.beat(holding)
        return holding

    def holder(self, caller: str, server: str = "a") -> str | None:
        report = self.pins.holder(server, caller)
        return None if report is None else report.instance


@given(caller=st.text(), instances=st.lists(st.text("abcxyz0123", min_size=1), min_size=2, unique=True), data=st.data())
def test_the_first_choice_stays_unless_it_is_the_one_that_goes(
    caller: str, instances: list[str], data: st.DataObject
) -> None:
    order = rendezvous(caller, instances)
    assert sorted(order) == sorted(instances)
    assert rendezvous(caller, instances[::-1]) == order
    gone = data.draw(st.sampled_from(instances))
    assert rendezvous(caller, [one for one in instances if one != gone]) == [one for one in order if one != gone]


def test_callers_are_spread_over_the_instances() -> None:
    first = [rendezvous(f"caller {number}", ["a", "b", "c"])[0] for number in range(300)]
    assert min(first.count(instance) for instance in "abc") > 60


async def test_the_worker_that_reports_a_caller_is_its_holder_until_it_does_not() -> None:
    world = World()
    one, other = await world.join(), await world.join("b")
    assert world.holder("ann") is None
    await world.hold(one, "ann")
    await world.hold(other, "bob")
    assert (world.holder("ann"), world.holder("bob"), world.holder("bob", "b")) == (one.instance, None, other.instance)
    await world.hold(one)
    assert world.holder("ann") is None
    assert world.pins.lost_with("a", "ann") is None


async def test_a_session_is_lost_with_its_holder_for_as_long_as_it_would_have_been_kept() -> None:
    world = World()
    worker = await world.join()
    await world.hold(worker, "ann")
    await world.announced.leave(worker)
    assert world.pins.lost_with("a", "ann") == worker.instance
    assert world.pins.lost_with("a", "bob") is None
    assert world.pins.lost_with("b", "ann") is None
    world.now += IDLE_S
    assert world.pins.lost_with("a", "ann") is None


async def test_a_holder_that_takes_no_calls_is_none_although_it_is_still_listed() -> None:
    world = World()
    dead, heir = await world.join(), await world.join()
    await world.hold(dead, "ann")
    world.pins.lose("a", "ann", dead.instance)
    assert world.holder("ann") is None
    await world.hold(heir, "ann")
    assert world.holder("ann") == heir.instance


async def test_what_another_worker_holds_by_now_is_not_lost_with_the_old_holder() -> None:
    world = World()
    dead, heir = await world.join(), await world.join()
    await world.hold(dead, "ann")
    await world.hold(heir, "ann")
    await world.announced.leave(dead)
    assert world.pins.lost_with("a", "ann") is None
    assert world.holder("ann") == heir.instance
