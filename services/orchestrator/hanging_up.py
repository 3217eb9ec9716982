"""Whether an HTTP caller is still there while its request is worked on."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from starlette.types import Receive

from services.orchestrator.writing import until_hung_up

T = TypeVar("T")

_WATCHED_AFTER_S: Final = 0.05
"""Of a request: most are answered by then, and need no task that waits for their caller to hang up."""


async def while_connected(receive: Receive, answering: Coroutine[Any, Any, T]) -> T | None:
    """Return the answer, or stop working on it when the caller hangs up: None. The body must have been read."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    with _HangUp(receive, task.cancel) as hang_up:
        try:
            return await answering
        except asyncio.CancelledError:
            if not hang_up.has_happened:
                raise
            task.uncancel()
            return None


class _HangUp:
    """Watches for it while the context lasts."""

    def __init__(self, receive: Receive, act: Callable[[], object]) -> None:
        """Call `act`, once, if the caller hangs up."""
        self._receive = receive
        self._act = act
        self._watching: asyncio.Task[None] | None = None
        self.has_happened = False

    def __enter__(self) -> Self:
        self._beginning = asyncio.get_running_loop().call_later(_WATCHED_AFTER_S, self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._beginning.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _begin(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        await until_hung_up(self._receive)
        self.has_happened = True
        self._act()
