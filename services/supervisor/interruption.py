"""Work that an event may interrupt."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns; None, with `work` cancelled, if `event` is set first."""
    waiting = asyncio.create_task(event.wait())
    working = asyncio.create_task(work)
    try:
        await asyncio.wait([waiting, working], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        waiting.cancel()
        working.cancel()
        await asyncio.wait([waiting, working])
