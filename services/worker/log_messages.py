"""What a server logs while it works on a call, on its way to who asked: in order, from the level on that is wanted."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from bus_schemas.calls import LOG_LEVELS
from services.runtime.outlines import decode_outline
from services.worker.mcp.session import Take

log = logging.getLogger(__name__)

MAX_LOG_BYTES: Final = 64 * 2**10
"""A longer message is dropped."""
_MOST_UNTOLD: Final = 256
"""Messages that have not been told yet; what comes beyond is dropped."""

Tell = Callable[[bytes], Awaitable[None]]


class _About(msgspec.Struct):
    level: str = ""


_about_decoder = msgspec.json.Decoder(_About)


@asynccontextmanager
async def telling_log(tell: Tell, level: str) -> AsyncIterator[Take]:
    """Yield what takes the log messages of a call; nothing more is told once the context is left.

    Args:
        tell: sends one message, `params` of `notifications/message`; called for one after another.
        level: of the least that is told, one of `LOG_LEVELS`.
    """
    messages = _Messages(tell, LOG_LEVELS[LOG_LEVELS.index(level) :])
    try:
        yield messages.take
    finally:
        await messages.finish()


class _Messages:
    """Keeps those that have not been told yet."""

    def __init__(self, tell: Tell, levels: tuple[str, ...]) -> None:
        self._tell = tell
        self._levels = levels
        self._untold: deque[bytes] = deque()
        self._telling: asyncio.Task[None] | None = None
        self._is_over = False

    def take(self, params: bytes) -> None:
        if self._is_over or _level(params) not in self._levels:
            return
        if len(params) > MAX_LOG_BYTES or len(self._untold) >= _MOST_UNTOLD:
            log.debug("a log message of the server is too long, or one too many")
            return
        self._untold.append(params)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def finish(self) -> None:
        """Tell what is left, and take no more."""
        self._is_over = True
        if self._telling is not None:
            await self._telling

    async def _tell_all(self) -> None:
        while self._untold:
            await self._tell(self._untold.popleft())


def _level(params: bytes) -> str:
    """Return the level of a message; what says none is of no level."""
    try:
        return decode_outline(_about_decoder, params).level
    except msgspec.DecodeError:
        return ""
