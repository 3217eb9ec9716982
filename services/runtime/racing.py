"""Waiting for whichever comes first, and for what never comes."""

import asyncio
from collections.abc import Awaitable
from typing import Never, TypeVar

T = TypeVar("T")


async def first_result(*awaitables: Awaitable[T]) -> T:
    """Return the result of the first to finish, or raise its error; the others are cancelled and awaited."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def unless(event: asyncio.Event, work: Awaitable[T]) -> T | None:
    """Return what `work` returns; None, with `work` cancelled, if `event` is set first."""

    async def interrupted() -> None:
        await event.wait()

    return await first_result(work, interrupted())


async def never() -> Never:
    """Wait until cancelled."""
    while True:
        await asyncio.get_running_loop().create_future()
