"""Work that goes on beside the processes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from services.runtime.lifecycle import end_task

log = logging.getLogger(__name__)

_CLEANUP_S: Final = 6.0
"""Longer than the last fence of a connection takes."""


class Background:
    """What goes on beside; given up when the context ends. What fails is told in the log."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)

    async def give_up(self) -> None:
        """Cancel all of it, and return when it has ended."""
        await asyncio.gather(*(end_task(task, cleanup_s=_CLEANUP_S) for task in self._tasks))


@asynccontextmanager
async def in_background() -> AsyncIterator[Background]:
    """Yield where background work is begun."""
    background = Background()
    try:
        yield background
    finally:
        await background.give_up()
