"""What a server says of one call's progress, on its way to who asked: all of it, but for what comes too fast."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from services.runtime.outlines import decode_outline
from services.worker.mcp.session import Take

log = logging.getLogger(__name__)

MAX_PROGRESS_BYTES: Final = 64 * 2**10
"""A longer notification is dropped: it could not be progress that somebody reads."""

_APART_S = 0.1
"""Between two words of one call: as often as a person sees a difference, and too seldom for a flood of them to hurt."""

AT_ONCE: Final = 10
"""How many words may follow each other faster than that; of a flood, the latest are told."""

Tell = Callable[[bytes], Awaitable[None]]

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@asynccontextmanager
async def telling_progress(tell: Tell) -> AsyncIterator[Take]:
    """Yield what takes a call's progress; nothing more is told once the context is left, the last word included.

    Args:
        tell: sends one word, `params` of `notifications/progress` without the token; called for one after another.
    """
    progress = _Progress(tell)
    try:
        yield progress.take
    finally:
        await progress.finish()


class _Progress:
    """Keeps the words that have not been told yet; newer ones take the place of what there is no room for."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._untold: deque[bytes] = deque(maxlen=AT_ONCE)
        self._telling: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()
        self._spoken_until = 0.0

    def take(self, params: bytes) -> None:
        if self._is_over.is_set():
            return
        if len(params) > MAX_PROGRESS_BYTES:
            log.debug("a progress notification is too long")
            return
        self._untold.append(params)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_untold())

    async def finish(self) -> None:
        """Tell the last word, and take no more."""
        self._is_over.set()
        if self._telling is not None:
            await self._telling

    async def _tell_untold(self) -> None:
        """Tell until there is nothing new."""
        while self._untold:
            if (ahead_s := self._ahead_s()) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ahead_s):
                        await self._is_over.wait()
                latest = self._untold.pop()
                self._untold.clear()
            else:
                latest = self._untold.popleft()
            if (word := without_token(latest)) is not None:
                await self._tell(word)

    def _ahead_s(self) -> float:
        """Take the time of one word, and return how long to wait before it; a virtual clock, as in GCRA."""
        now = asyncio.get_running_loop().time()
        self._spoken_until = max(self._spoken_until, now) + _APART_S
        return self._spoken_until - now - AT_ONCE * _APART_S


def without_token(params: bytes) -> bytes | None:
    """Return `params` without our token, the other members byte for byte; None if they tell of no progress."""
    try:
        members = decode_outline(_members, params)
    except msgspec.DecodeError:
        members = {}
    if "progress" not in members:
        log.debug("a progress notification is malformed")
        return None
    members.pop("progressToken", None)
    return msgspec.json.encode(members)
