"""What a server says of one call's progress, on its way to who asked: the latest word, a few times a second."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from services.runtime.outlines import decode_outline
from services.worker.mcp.session import ProgressCallback

log = logging.getLogger(__name__)

MAX_PROGRESS_BYTES: Final = 64 * 2**10
"""A longer notification is dropped: it could not be progress that somebody reads."""

_APART_S = 0.1
"""Between two words of one call: as often as a person sees a difference, and too seldom for a flood of them to hurt."""

Tell = Callable[[bytes], Awaitable[None]]

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@asynccontextmanager
async def telling_progress(tell: Tell) -> AsyncIterator[ProgressCallback]:
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
    """Keeps the word that has not been told yet; a newer one takes its place."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._latest: bytes | None = None
        self._telling: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()

    def take(self, params: bytes) -> None:
        if self._is_over.is_set():
            return
        if len(params) > MAX_PROGRESS_BYTES:
            log.debug("a progress notification is too long")
            return
        self._latest = params
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_latest())

    async def finish(self) -> None:
        """Tell the last word, and take no more."""
        self._is_over.set()
        if self._telling is not None:
            await self._telling

    async def _tell_latest(self) -> None:
        """Tell until there is nothing new."""
        while self._latest is not None:
            latest, self._latest = self._latest, None
            if (word := without_token(latest)) is None:
                continue
            await self._tell(word)
            with suppress(TimeoutError):
                async with asyncio.timeout(_APART_S):
                    await self._is_over.wait()


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
