"""Small things said to a server on the way out, which nobody waits for."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final

from services.runtime.errors import NotExecutedError

_FINISH_S: Final = 1.0


class Errands:
    """Background tasks of one transport, bounded by its life."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do it in the background; it does not matter if the server is not there any more."""
        task = asyncio.create_task(_excused(errand))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Give what is under way a moment, and end it."""
        tasks = tuple(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=_FINISH_S)
        for task in tasks:
            task.cancel()


async def _excused(errand: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(NotExecutedError):
        await errand
