"""Obeys flushes of the shared cache: what this process keeps of it is distrusted, then that is acknowledged."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from bus_schemas import subjects
from bus_schemas.cache import CacheFlushed, FlushAcknowledged
from services.runtime.bus import Bus, BusAwayError, BusMessage

log = logging.getLogger(__name__)


class Flushes:
    """Hears what happens to the cache. Made by `obeying_flushes`."""

    def __init__(self, bus: Bus, instance: str, distrust: Callable[[], None]) -> None:
        self._bus = bus
        self._acknowledgement = FlushAcknowledged(instance=instance).encode()
        self._distrust = distrust

    async def obey(self, message: BusMessage) -> None:
        """Distrust first, whatever was said: a later release may say more than this one understands."""
        self._distrust()
        try:
            CacheFlushed.model_validate_json(message.data)
        except ValueError:
            log.warning("cache event is malformed")
            return
        if message.reply:
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, self._acknowledgement)


@asynccontextmanager
async def obeying_flushes(bus: Bus, *, instance: str, distrust: Callable[[], None]) -> AsyncIterator[None]:
    """Obey flushes; also after a reconnect, since the bus keeps nothing for those who were away.

    Args:
        bus: where flushes are told.
        instance: who acknowledges.
        distrust: makes this process answer nothing any more that it has not asked the store about anew. It does not
            wait, and when it returns that is so.
    """
    flushes = Flushes(bus, instance, distrust)
    subscription = await bus.subscribe(subjects.CACHE_EVENTS, flushes.obey)
    bus.on_reconnect(distrust)
    try:
        yield
    finally:
        await subscription.drain()
