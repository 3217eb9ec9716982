"""A server that says nothing when its session is opened: how long that counts as starting, and as what afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus_schemas.workers import ServerFault
from services.worker.mcp.keeper import SessionKeeper
from tests.support.kept_sessions import FakeSession, World, keeping, state

pytestmark = pytest.mark.anyio


class SlowWorld(World):
    """Opening a session takes `opening_s`, and then does what the world says."""

    opening_s = 70.0

    @asynccontextmanager
    async def open_session(self) -> AsyncIterator[FakeSession]:
        await self.sleep(self.opening_s)
        async with super().open_session() as session:
            yield session


def fault(keeper: SessionKeeper) -> ServerFault | None:
    """The keeper's fault now, which the type checker must not remember."""
    return keeper.status.fault


async def test_a_server_that_leaves_the_greeting_unanswered_is_starting_for_ten_seconds_and_then_does_not_respond() -> (
    None
):
    """Seen to fail with a keeper that says nothing before the opening has failed."""
    world = SlowWorld()
    async with keeping(world) as keeper:
        await world.advance(9.9)
        assert state(keeper) == "starting"
        checked_at = keeper.checked_at
        await world.advance(0.2)
        assert (state(keeper), fault(keeper)) == ("down", ServerFault.NOT_RESPONDING)
        assert keeper.checked_at != checked_at


async def test_a_server_that_answers_late_is_up_all_the_same() -> None:
    world = SlowWorld()
    async with keeping(world) as keeper:
        await world.advance(70.1)
        assert (state(keeper), fault(keeper), keeper.status.restarts) == ("up", None, 0)
        await world.advance(60)
        assert state(keeper) == "up"


async def test_a_server_that_opens_in_time_is_never_said_to_be_silent() -> None:
    world = SlowWorld()
    world.opening_s = 9.0
    async with keeping(world) as keeper:
        await world.advance(9.1)
        assert state(keeper) == "up"
        await world.advance(1.1)  # had it been withdrawn, the next probe would have to bring it back
        assert (state(keeper), fault(keeper)) == ("up", None)


async def test_what_was_last_wrong_gives_way_to_silence_and_silence_to_what_is_wrong_next() -> None:
    world = SlowWorld()
    world.opening_s = 0.0
    world.fault = ServerFault.PROCESS_EXITED
    async with keeping(world) as keeper:
        assert fault(keeper) is ServerFault.PROCESS_EXITED
        world.opening_s = 70.0
        world.fault = ServerFault.PROTOCOL_ERROR
        await world.advance(15)
        assert fault(keeper) is ServerFault.NOT_RESPONDING
        await world.advance(60)
        assert fault(keeper) is ServerFault.PROTOCOL_ERROR
