"""What a limit of time ends, and what it leaves alone."""

import asyncio

import pytest

from services.runtime.time_limits import TimeLimit

pytestmark = pytest.mark.anyio


async def test_what_takes_too_long_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        with TimeLimit(0.01):
            await asyncio.sleep(5)
    await asyncio.sleep(0)  # the task itself goes on


async def test_what_ends_in_time_ends_as_it_does() -> None:
    with TimeLimit(0.02):
        await asyncio.sleep(0)
    with pytest.raises(KeyError):
        with TimeLimit(0.02):
            raise KeyError
    await asyncio.sleep(0.05)


async def test_a_cancel_of_somebody_else_stays_one() -> None:
    async def work() -> None:
        with TimeLimit(5):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_of_somebody_else_goes_before_the_timeout() -> None:
    async def work() -> None:
        with TimeLimit(0.01):
            try:
                await asyncio.sleep(5)
            finally:
                task.cancel()

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_inner_of_two_limits_ends_first() -> None:
    with TimeLimit(5):
        with pytest.raises(TimeoutError):
            with TimeLimit(0.01):
                await asyncio.sleep(5)
        await asyncio.sleep(0)
