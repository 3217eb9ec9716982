"""The keeper, with sessions that do what the test says and a clock that the test moves."""

import asyncio

import pytest

from bus_schemas.workers import ServerFault
from services.runtime.errors import DeadlineExceededError, NoWorkerError, UpstreamError
from services.worker.mcp.keeper import SessionKeeper, Status
from services.worker.mcp.session import ListedCatalogue
from tests.support.kept_sessions import FakeSession, World, call, keeping, latency, settle, state

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World()


async def test_a_session_that_opens_is_up_with_its_catalogue(world: World) -> None:
    async with keeping(world) as keeper:
        assert keeper.status == Status("up", None, ListedCatalogue(tools=[{"name": "a"}]), FakeSession.server_info, 0)
        assert keeper.session is world.opened[0]


async def test_calls_go_to_the_session_of_the_moment(world: World) -> None:
    async with keeping(world) as keeper:
        calling = call(keeper)
        await settle()
        world.opened[0].calls[0].set_result(b'{"x":1}')
        assert await calling == b'{"x":1}'


async def test_a_lost_session_is_opened_again_at_once(world: World) -> None:
    async with keeping(world) as keeper:
        world.opened[0].lost.set_result(ServerFault.PROCESS_EXITED)
        await settle()
        assert world.opened[0].is_closed
        assert len(world.opened) == 2
        assert (state(keeper), keeper.status.restarts) == ("up", 1)


async def test_while_a_server_is_down_the_fault_is_told_and_calls_were_not_executed(world: World) -> None:
    async with keeping(world) as keeper:
        world.fault = ServerFault.CONNECTION_REFUSED
        world.opened[0].lost.set_result(ServerFault.PROCESS_EXITED)
        await settle()
        assert state(keeper) == "down"
        assert keeper.status.fault == ServerFault.CONNECTION_REFUSED
        assert keeper.status.catalogue is not None
        with pytest.raises(NoWorkerError):
            await call(keeper)


async def test_a_server_that_never_came_up_is_starting_and_then_down(world: World) -> None:
    keeper = SessionKeeper(world.open_session, owns_process=True, clock=lambda: world.now, sleep=world.sleep)
    assert state(keeper) == "starting"
    world.fault = ServerFault.PROCESS_EXITED
    async with keeping(world) as keeper:
        assert (state(keeper), keeper.status.catalogue) == ("down", None)


async def test_a_crash_loop_slows_down_and_a_stable_session_ends_it(world: World) -> None:
    world.fault = ServerFault.PROCESS_EXITED
    async with keeping(world) as keeper:
        await world.advance(10)
        # At once, then after 0.2, 0.4, 0.8, 1.6, 3.2 seconds; the next after 6.4 more.
        assert keeper.status.restarts == 6
        world.fault = None
        await world.advance(15)
        assert state(keeper) == "up"
        restarts = keeper.status.restarts
        await world.advance(11)
        world.opened[-1].lost.set_result(ServerFault.PROCESS_EXITED)
        await settle()
        assert (state(keeper), keeper.status.restarts) == ("up", restarts + 1)


async def test_a_server_at_a_url_is_served_again_within_a_second_of_its_return(world: World) -> None:
    world.fault = ServerFault.CONNECTION_REFUSED
    async with keeping(world, owns_process=False) as keeper:
        await world.advance(120)
        world.fault = None
        await world.advance(0.6)
        assert state(keeper) == "up"


async def test_the_probe_measures_the_round_trip(world: World) -> None:
    async with keeping(world) as keeper:
        assert latency(keeper) == 0.012  # measured as soon as the session is open
        await world.advance(12.1)
        assert world.opened[0].probes == 1 + 6


async def test_a_silent_server_is_withdrawn_and_is_back_when_it_answers(world: World) -> None:
    async with keeping(world) as keeper:
        world.opened[0].probe_error = DeadlineExceededError
        await world.advance(2.1)
        assert (state(keeper), keeper.status.fault) == ("down", ServerFault.NOT_RESPONDING)
        with pytest.raises(NoWorkerError):
            await call(keeper)
        world.opened[0].probe_error = None
        await world.advance(0.6)
        assert (state(keeper), keeper.status.fault, keeper.status.restarts) == ("up", None, 0)


async def test_a_silent_process_is_started_afresh_after_a_minute(world: World) -> None:
    async with keeping(world) as keeper:
        world.opened[0].probe_error = DeadlineExceededError
        await world.advance(59)
        assert len(world.opened) == 1
        await world.advance(2)
        assert world.opened[0].is_closed
        assert (state(keeper), len(world.opened)) == ("up", 2)


async def test_a_busy_server_serves_on_until_the_deadlines_of_its_calls(world: World) -> None:
    async with keeping(world) as keeper:
        calling = call(keeper, timeout_s=20)
        await settle()
        world.opened[0].probe_error = DeadlineExceededError
        await world.advance(19)
        assert state(keeper) == "up"
        await world.advance(4)
        assert state(keeper) == "down"
        calling.cancel()
        await asyncio.wait([calling])


async def time_out(world: World, keeper: SessionKeeper) -> None:
    calling = call(keeper)
    await settle()
    world.opened[-1].calls[-1].set_exception(DeadlineExceededError())
    with pytest.raises(DeadlineExceededError):
        await calling


async def test_a_hung_process_is_withdrawn_and_replaced_however_many_calls_still_wait_for_it(world: World) -> None:
    async with keeping(world) as keeper:
        hung = world.opened[0]
        waiting = [call(keeper, timeout_s=300) for _ in range(3)]
        hung.probe_error = DeadlineExceededError
        await world.advance(5)
        assert state(keeper) == "up"
        await time_out(world, keeper)
        await world.advance(3)
        assert (state(keeper), keeper.status.fault) == ("down", ServerFault.NOT_RESPONDING)
        await world.advance(60)
        assert hung.is_closed
        assert (state(keeper), len(world.opened)) == ("up", 2)
        for calling in waiting:
            calling.cancel()
        await asyncio.wait(waiting)


async def test_a_server_that_was_heard_after_a_call_ran_out_of_its_time_may_be_busy_again(world: World) -> None:
    async with keeping(world) as keeper:
        await time_out(world, keeper)
        await world.advance(3)  # a probe is answered
        waiting = call(keeper, timeout_s=30)
        await settle()
        world.opened[0].probe_error = DeadlineExceededError
        await world.advance(20)
        assert state(keeper) == "up"
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_failed_call_is_followed_by_a_probe_at_once(world: World) -> None:
    async with keeping(world) as keeper:
        session = world.opened[0]
        await world.advance(0.3)
        before = session.probes
        for _ in range(3):
            calling = call(keeper)
            await settle()
            session.calls[-1].set_exception(UpstreamError())
            with pytest.raises(UpstreamError):
                await calling
        await settle()
        # One for all three: failing calls must not become a flood of probes.
        assert session.probes == before + 1
