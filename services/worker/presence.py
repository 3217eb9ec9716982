"""When the worker takes calls: it joins when its server answers and withdraws while it does not."""

import asyncio
import logging

from services.runtime.bus import BusAwayError
from services.worker.announcement import Announcement
from services.worker.consumer import CallConsumer
from services.worker.mcp.keeper import SessionKeeper
from services.worker.slots import Slots

log = logging.getLogger(__name__)

_BUS_RETRY_S = 0.2


class Presence:
    """Follows the session: up → take calls, then say so; down → say so, then take none and send away who waits."""

    def __init__(self, keeper: SessionKeeper, slots: Slots, consumer: CallConsumer, announcement: Announcement) -> None:
        self._keeper = keeper
        self._slots = slots
        self._consumer = consumer
        self._announcement = announcement
        self._leaving = False
        self._turn = asyncio.Lock()

    async def follow(self) -> None:
        """Follow the session until cancelled; a change that meets a bus that is away is made when it is back."""
        async for _ in self._keeper.statuses():
            while not await self._adapt():
                await asyncio.sleep(_BUS_RETRY_S)

    async def leave(self, *, announce_s: float, longest_s: float) -> None:
        """Leave without losing a call.

        Args:
            announce_s: how long to go on serving after the announcement, so that orchestrators hear it first.
            longest_s: how long the calls in flight may take, in seconds.
        """
        await self._announcement.tell_draining()
        await asyncio.sleep(announce_s)
        async with self._turn:
            self._leaving = True
            # The fence first, then the calls: nc.drain() would close the inbox under them.
            await self._consumer.close()
        await self._consumer.finish(longest_s)
        await self._announcement.tell_left()
        log.info("worker drained", extra={"answered": self._consumer.stats.requests})

    async def _adapt(self) -> bool:
        async with self._turn:
            if self._leaving:
                return True
            try:
                if self._keeper.session is not None:
                    await self._consumer.open()
                    await self._announcement.tell()
                else:
                    await self._announcement.tell()
                    await self._consumer.withdraw()
                    self._slots.send_away()
            except BusAwayError:
                return False
            return True
