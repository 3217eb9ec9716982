"""Whether an HTTP caller is still there while its request is worked on."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from starlette.types import Receive

from services.orchestrator.writing import until_hung_up

_WATCHED_AFTER_S: Final = 0.05
"""Of a request: most are answered by then, and need no task that waits for their caller to hang up."""


class HangUp:
    """Watches for it while the context lasts, in which the body has been read."""

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
