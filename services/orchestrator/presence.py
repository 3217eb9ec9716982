"""What an orchestrator says of itself: that it is there, what it has counted, that it has left."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from bus_schemas import subjects
from bus_schemas.envelope import Message
from bus_schemas.replicas import OrchestratorHeartbeat, OrchestratorLeft, VersionCounts
from services.runtime.bus import Bus, BusAwayError
from services.runtime.fleet import HEARTBEAT_INTERVAL_S
from services.runtime.lifecycle import Lifecycle

log = logging.getLogger(__name__)


class Presence:
    """Says every second that this orchestrator lives. Made by `present`."""

    def __init__(
        self,
        bus: Bus,
        instance: str,
        *,
        hits: Callable[[], int],
        misses: Callable[[], int],
        versions: Callable[[], list[VersionCounts]],
    ) -> None:
        self._bus = bus
        self._instance = instance
        self._subject = subjects.orchestrator_event(instance)
        self._hits = hits
        self._misses = misses
        self._versions = versions
        self._started_at = time.time()
        self._has_left = False

    async def beat(self) -> None:
        """Say it every second, until it has been said that we left."""
        while not self._has_left:
            await self.tell()
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def tell(self) -> None:
        """Say now that we live, and what was counted."""
        heartbeat = OrchestratorHeartbeat(
            instance=self._instance,
            started_at=self._started_at,
            cache_hits=self._hits(),
            cache_misses=self._misses(),
            versions=self._versions(),
        )
        await self._send(heartbeat)

    async def leave(self) -> None:
        """Say that we have left; who is heard after its last word counts as live again."""
        self._has_left = True
        await self._send(OrchestratorLeft(instance=self._instance))

    async def _send(self, event: Message) -> None:
        try:
            await self._bus.publish(self._subject, event.encode())
        except BusAwayError:
            log.debug("event not sent, the bus is away")


@asynccontextmanager
async def present(
    bus: Bus,
    life: Lifecycle,
    *,
    instance: str,
    hits: Callable[[], int],
    misses: Callable[[], int],
    versions: Callable[[], list[VersionCounts]] = list,
) -> AsyncIterator[None]:
    """Be known as live. Enter before the first query is taken, leave after the last one is answered.

    Args:
        bus: where it is said.
        life: runs the heartbeat.
        instance: who we are.
        hits: how many queries were answered from the cache since the start.
        misses: how many look-ups found nothing since the start.
        versions: what was counted of each version of servers that have several.
    """
    presence = Presence(bus, instance, hits=hits, misses=misses, versions=versions)
    await presence.tell()
    with suppress(BusAwayError):
        await bus.fence()  # whoever flushes the cache knows of us before we take a query
    life.start(presence.beat(), name="presence")
    try:
        yield
    finally:
        await presence.leave()
