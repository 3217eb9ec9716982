"""Slots: bounded, fair, and honest about a wait that is not worth beginning."""

import asyncio
import time
from contextlib import AsyncExitStack

import anyio
import pytest

from services.runtime.errors import NoWorkerError, OverloadedError
from services.worker import slots as slots_module
from services.worker.slots import Slots
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def soon() -> float:
    return time.monotonic() + 5


async def test_no_more_than_the_count_run_at_once_and_the_rest_in_the_order_they_came() -> None:
    slots = Slots(2, longest_line=10, clock=time.monotonic)
    running, most, order = 0, 0, []

    async def call(number: int) -> None:
        nonlocal running, most
        async with slots.hold(soon()):
            running += 1
            most = max(most, running)
            order.append(number)
            await asyncio.sleep(0)
            running -= 1

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(call, number)

    assert most == 2
    assert order == list(range(8))
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_a_full_line_is_overloaded_at_once() -> None:
    slots = Slots(1, longest_line=0, clock=time.monotonic)
    async with slots.hold(soon()):
        with pytest.raises(OverloadedError):
            async with slots.hold(soon()):
                pytest.fail("there was no slot")


async def test_a_wait_that_would_outlast_the_deadline_is_overloaded_at_once() -> None:
    now = 100.0
    slots = Slots(1, longest_line=10, clock=lambda: now)
    async with slots.hold(200):
        now += 10.0  # a call takes ten seconds
    assert slots.expected_wait_s() > 0.5
    async with slots.hold(200):
        with pytest.raises(OverloadedError):
            async with slots.hold(now + 0.5):
                pytest.fail("there was no slot")


async def test_a_slot_that_does_not_come_by_the_deadline_is_overloaded_then() -> None:
    slots = Slots(1, longest_line=10, clock=time.monotonic)
    async with slots.hold(soon()):
        with anyio.fail_after(5):
            with pytest.raises(OverloadedError):
                async with slots.hold(time.monotonic() + 0.05):
                    pytest.fail("there was no slot")
        assert slots.waiting == 0


async def test_the_refusal_leaves_time_to_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "_REPLY_MARGIN_S", 3600)
    monkeypatch.setattr(slots_module, "_REPLY_MARGIN_SHARE", 1)
    slots = Slots(1, longest_line=10, clock=time.monotonic)
    async with slots.hold(soon()):
        with anyio.fail_after(5), pytest.raises(OverloadedError):
            async with slots.hold(time.monotonic() + 3600):
                pytest.fail("there was no slot")


async def test_the_margin_is_a_tenth_of_what_is_left_and_a_twentieth_of_a_second_at_most() -> None:
    now = time.monotonic() + 1000  # so that a wait that begins does not end
    slots = Slots(1, longest_line=10, clock=lambda: now)
    async with slots.hold(now):
        now += 2.0  # from now on a wait of 0.2 s is expected, and may take a quarter longer
    async with slots.hold(now):
        with anyio.fail_after(5), pytest.raises(OverloadedError):
            async with slots.hold(now + 0.27):
                pytest.fail("there was no slot")
        waiter = asyncio.create_task(enter(slots, now + 0.29))
        await until(lambda: slots.waiting == 1)
        waiter.cancel()
        await asyncio.wait([waiter])


async def test_a_call_that_could_not_end_in_time_any_more_does_not_get_its_turn() -> None:
    now = time.monotonic() + 1000
    slots = Slots(1, longest_line=10, clock=lambda: now)
    for seconds in [0.1, *[0.5] * 20]:
        async with slots.hold(now + 5):
            now += seconds
    assert slots.least_run_s() == pytest.approx(0.5)
    wait_s = 1.25 * slots.expected_wait_s()
    async with slots.hold(now + 5):
        with anyio.fail_after(5), pytest.raises(OverloadedError):
            async with slots.hold(now + wait_s + 0.5 + 0.04):
                pytest.fail("it would be cut off in the middle")
        waiter = asyncio.create_task(enter(slots, now + wait_s + 0.5 + 0.06))
        await until(lambda: slots.waiting == 1)
        waiter.cancel()
        await asyncio.wait([waiter])


async def test_a_waiter_that_gives_up_leaves_its_place_and_costs_no_slot() -> None:
    slots = Slots(1, longest_line=10, clock=time.monotonic)
    async with AsyncExitStack() as held:
        await held.enter_async_context(slots.hold(soon()))
        waiter = asyncio.create_task(enter(slots))
        await until(lambda: slots.waiting == 1)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert slots.waiting == 0

    async with slots.hold(soon()):
        assert slots.in_use == 1
    assert slots.in_use == 0


async def test_a_slot_handed_to_a_waiter_in_the_moment_it_gives_up_goes_to_the_next() -> None:
    slots = Slots(1, longest_line=10, clock=time.monotonic)
    async with AsyncExitStack() as held:
        await held.enter_async_context(slots.hold(soon()))
        leaving, next_one = asyncio.create_task(enter(slots)), asyncio.create_task(enter(slots))
        await until(lambda: slots.waiting == 2)
        await held.aclose()  # hands the slot to the first
        leaving.cancel()  # before it could run
        with anyio.fail_after(5):
            await next_one

    assert slots.in_use == 0


async def test_a_waiter_that_gives_up_in_the_moment_before_its_turn_comes_gives_up_as_it_was_asked_to() -> None:
    slots = Slots(1, longest_line=10, clock=time.monotonic)
    async with AsyncExitStack() as held:
        await held.enter_async_context(slots.hold(soon()))
        waiter = asyncio.create_task(enter(slots))
        await until(lambda: slots.waiting == 1)
        waiter.cancel()  # and before it hears of that, its turn comes:
        await held.aclose()
        with anyio.fail_after(5), pytest.raises(asyncio.CancelledError):
            await waiter

    assert (slots.in_use, slots.waiting) == (0, 0)


async def enter(slots: Slots, deadline: float | None = None) -> None:
    async with slots.hold(deadline or soon()):
        pass


async def test_without_room_for_its_result_no_call_begins() -> None:
    room = True
    slots = Slots(1, longest_line=10, clock=time.monotonic, has_room=lambda: room)
    refused = asyncio.Event()

    async def wait_for_slot() -> None:
        with pytest.raises(OverloadedError):
            async with slots.hold(soon()):
                pytest.fail("there is no room")
        refused.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            async with slots.hold(soon()):
                group.start_soon(wait_for_slot)
                await until(lambda: slots.waiting == 1)
                room = False
                await wait_for_slot()
                refused.clear()
            await refused.wait()  # the one that waited got its turn, and no room
        assert slots.in_use == 0
        room = True
        async with slots.hold(soon()):
            assert slots.in_use == 1


async def test_who_waits_for_a_server_that_went_away_is_sent_away_and_who_holds_a_slot_keeps_it() -> None:
    served = True
    slots = Slots(1, longest_line=10, clock=time.monotonic, is_served=lambda: served)
    async with slots.hold(soon()):
        waiters = [asyncio.create_task(enter(slots)) for _ in range(3)]
        await until(lambda: slots.waiting == 3)
        slots.send_away()  # the server is there: nobody goes
        assert slots.waiting == 3
        waiters[0].cancel()
        served = False
        slots.send_away()
        with anyio.fail_after(5):
            ended = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(end) for end in ended] == [asyncio.CancelledError, NoWorkerError, NoWorkerError]
        with pytest.raises(NoWorkerError):
            await enter(slots)
        assert (slots.in_use, slots.waiting) == (1, 0)

    assert slots.in_use == 0
