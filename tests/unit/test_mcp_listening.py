"""When the lists of a server are read again, and when the stream that tells of their changes is opened again."""

import pytest

from bus_schemas.workers import ServerFault
from services.runtime.errors import DeadlineExceededError, UpstreamError
from services.worker.mcp.session import ListedCatalogue
from tests.support.kept_sessions import World, keeping, settle, state

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World()


async def test_a_change_of_the_lists_is_told(world: World) -> None:
    async with keeping(world) as keeper:
        statuses = keeper.statuses()
        assert (await anext(statuses)).catalogue == ListedCatalogue(tools=[{"name": "a"}])
        world.opened[0].tools.append({"name": "b"})
        world.opened[0].changed.set()
        await world.advance(0.3)
        status = await anext(statuses)
        assert status.catalogue == ListedCatalogue(tools=[{"name": "a"}, {"name": "b"}])
        await statuses.aclose()  # type: ignore[attr-defined]


async def test_a_server_whose_lists_change_whenever_they_are_read_is_not_read_in_a_hot_loop(world: World) -> None:
    async with keeping(world):
        session = world.opened[0]
        session.changes_when_listed = True
        session.changed.set()
        await world.advance(3)
        assert 3 <= session.listings <= 1 + 4
        await world.advance(300)
        before = session.listings
        await world.advance(60)
        assert 3 <= session.listings - before <= 4


async def test_a_burst_of_changes_is_one_reading(world: World) -> None:
    async with keeping(world):
        session = world.opened[0]
        for _ in range(100):
            session.changed.set()
            await settle()
        await world.advance(30)
        assert session.listings == 2


async def test_a_change_that_comes_while_the_lists_are_read_is_read_too(world: World) -> None:
    async with keeping(world) as keeper:
        session = world.opened[0]
        session.listing_s = 1
        session.changed.set()
        await world.advance(0.5)
        assert session.listings == 2
        session.tools.append({"name": "b"})
        session.changed.set()
        await world.advance(3)
        assert session.listings == 3
        assert keeper.status.catalogue == ListedCatalogue(tools=[{"name": "a"}, {"name": "b"}])


async def test_a_change_after_a_quiet_time_is_read_at_once_however_many_readings_were_in_vain(world: World) -> None:
    async with keeping(world):
        session = world.opened[0]
        session.changes_when_listed = True
        session.changed.set()
        await world.advance(60)
        session.changes_when_listed = False
        await world.advance(50)
        before = session.listings
        session.changed.set()
        await world.advance(0.3)
        assert session.listings == before + 1


async def test_a_stream_that_ends_is_opened_again_and_says_nothing_about_the_server(world: World) -> None:
    async with keeping(world) as keeper:
        session = world.opened[0]
        await world.advance(11)
        session.streams[0].set_exception(UpstreamError())
        await settle()
        assert len(session.streams) == 2
        assert (state(keeper), len(world.opened)) == ("up", 1)


async def test_a_stream_that_keeps_ending_is_opened_ever_more_slowly(world: World) -> None:
    async with keeping(world) as keeper:
        session = world.opened[0]
        session.streams[0].set_result(None)
        session.stream_error = UpstreamError()
        await world.advance(3.2)
        assert len(session.streams) == 6
        await world.advance(300)
        before = len(session.streams)
        await world.advance(60)
        assert 3 <= len(session.streams) - before <= 4
        assert (state(keeper), len(world.opened)) == ("up", 1)


async def test_the_stream_is_opened_anew_when_the_server_is_back(world: World) -> None:
    async with keeping(world):
        session = world.opened[0]
        session.probe_error = DeadlineExceededError
        await world.advance(2.1)
        session.probe_error = None
        await world.advance(0.8)
        assert [stream.cancelled() for stream in session.streams] == [True, False]


async def test_the_stream_ends_with_the_session(world: World) -> None:
    async with keeping(world):
        session = world.opened[0]
        session.lost.set_result(ServerFault.PROCESS_EXITED)
        await settle()
        assert [stream.cancelled() for stream in session.streams] == [True]
        assert len(world.opened[1].streams) == 1
    assert world.opened[1].streams[0].cancelled()


async def test_lists_are_read_again_when_a_server_is_back(world: World) -> None:
    async with keeping(world) as keeper:
        world.opened[0].probe_error = DeadlineExceededError
        await world.advance(2.1)
        world.opened[0].tools.append({"name": "b"})
        world.opened[0].probe_error = None
        await world.advance(0.8)
        assert keeper.status.catalogue == ListedCatalogue(tools=[{"name": "a"}, {"name": "b"}])


async def test_lists_are_read_again_now_and_then(world: World) -> None:
    async with keeping(world) as keeper:
        world.opened[0].tools.append({"name": "b"})
        await world.advance(61)
        assert keeper.status.catalogue == ListedCatalogue(tools=[{"name": "a"}, {"name": "b"}])
