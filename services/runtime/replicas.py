"""The orchestrators there are, from their own words; and how all of them are told something, and who says it heard."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from bus_schemas import subjects
from bus_schemas.control import Acknowledged
from bus_schemas.replicas import OrchestratorHeartbeat, OrchestratorLeft, decode_orchestrator_event
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox
from services.runtime.bus.inbox import Exchange, NoRespondersError
from services.runtime.fleet import HEARD_ALL_AFTER_S, HEARTBEAT_INTERVAL_S
from services.runtime.lifecycle import Lifecycle

log = logging.getLogger(__name__)

WITHIN_S: Final = 1.5
"""How long the orchestrators have to acknowledge what they are told."""
_FORGOTTEN_AFTER_S: Final = 10.0
"""A silent one may be frozen, and go on with what it knew: it counts as live for longer than a silent worker."""
_LOOK_EVERY_S: Final = HEARTBEAT_INTERVAL_S / 4


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What the live orchestrators have counted since each of them started."""

    hits: int
    misses: int

    @property
    def hit_rate(self) -> float:
        """The share of look-ups that found something; 0.0 before the first."""
        return self.hits / max(1, self.hits + self.misses)


@dataclass(frozen=True, slots=True)
class Acknowledgements:
    """Who said in time that it has done what it was told, and which live one did not; instances, sorted."""

    by: list[str]
    missing: list[str]


@dataclass(slots=True)
class _Replica:
    heartbeat: OrchestratorHeartbeat
    heard_at: float
    """Seconds of the monotonic clock."""


class Replicas:
    """Every live orchestrator. One that says that it has left is gone; a silent one is after ten seconds."""

    def __init__(self, bus: Bus, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._inbox = inbox
        self._clock = clock
        self._replicas: dict[str, _Replica] = {}
        self._looked_at = self._hearing_since = clock()
        self._complete = asyncio.Event()

    def instances(self) -> set[str]:
        """Who lives."""
        return set(self._replicas)

    def heartbeats(self) -> list[OrchestratorHeartbeat]:
        """Return the last word of each that lives."""
        return [replica.heartbeat for replica in self._replicas.values()]

    def have_spoken_since(self, moment: float) -> bool:
        """Whether each that lives has been heard after `moment`, by the clock."""
        return all(replica.heard_at > moment for replica in self._replicas.values())

    def cache_counts(self) -> CacheCounts:
        """Return the sums over all live orchestrators."""
        heartbeats = self.heartbeats()
        return CacheCounts(sum(one.cache_hits for one in heartbeats), sum(one.cache_misses for one in heartbeats))

    async def completed(self) -> None:
        """Return when the table holds everybody, which takes a heartbeat after the start and after a reconnect.

        Raises:
            BusAwayError: nobody can be heard.
        """
        if not self._bus.connected:
            raise BusAwayError
        try:
            async with asyncio.timeout(2 * HEARD_ALL_AFTER_S):
                await self._complete.wait()
        except TimeoutError as error:
            raise BusAwayError from error

    async def tell(self, subject: str, payload: bytes, *, within_s: float = WITHIN_S) -> Acknowledgements:
        """Publish `payload` once, and return who acknowledges it: when all live ones have, or after `within_s` seconds.

        Raises:
            BusAwayError: nobody was told.
        """
        await self.completed()
        by: set[str] = set()
        with self._inbox.expect() as exchange:
            await self._bus.publish(subject, payload, reply=exchange.reply_to)
            with suppress(TimeoutError, NoRespondersError):
                async with asyncio.timeout(within_s):
                    await self._gather(exchange, by)
        return Acknowledgements(by=sorted(by), missing=sorted(self.instances() - by))

    async def watch_silence(self) -> None:
        """Forget, for ever, those that have not been heard for long."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            with suppress(BusAwayError):
                await self._bus.fence()  # takes as long as the bus does not answer
            self.forget_silent()

    def forget_silent(self) -> None:
        """Forget those that have been silent for ten seconds; call it every quarter of a second.

        A time in which nobody could be heard does not count: the bus was away, or this was not called.
        """
        now = self._clock()
        was_deaf = now - self._looked_at > HEARTBEAT_INTERVAL_S
        self._looked_at = now
        if was_deaf or not self._bus.connected:
            self.start_over()
            return
        if now - self._hearing_since >= HEARD_ALL_AFTER_S:
            self._complete.set()
        too_old = now - _FORGOTTEN_AFTER_S
        for instance in [name for name, replica in self._replicas.items() if replica.heard_at < too_old]:
            log.warning("orchestrator is silent", extra={"instance": instance})
            del self._replicas[instance]

    def start_over(self) -> None:
        """Count from now on who is silent: before, nobody could be heard."""
        self._hearing_since = self._clock()
        self._complete.clear()
        for replica in self._replicas.values():
            replica.heard_at = self._hearing_since

    async def take_event(self, message: BusMessage) -> None:
        """Enter one event of an orchestrator into the table."""
        try:
            event = decode_orchestrator_event(message.data)
        except ValueError:
            log.warning("orchestrator event is malformed")
            return
        if message.subject != subjects.orchestrator_event(event.instance):
            log.warning("orchestrator event is on a foreign subject")
            return
        match event:
            case OrchestratorHeartbeat():
                self._replicas[event.instance] = _Replica(event, self._clock())
            case OrchestratorLeft():
                self._replicas.pop(event.instance, None)

    async def _gather(self, exchange: Exchange, by: set[str]) -> None:
        with suppress(BusAwayError):
            # An orchestrator says that it is there before it takes a query: after this we know each that has taken one.
            await self._bus.fence()
        while self.instances() - by:
            reply = await exchange.next()
            try:
                by.add(Acknowledged.model_validate_json(reply.data).instance)
            except ValueError:
                log.warning("acknowledgement is malformed")


@asynccontextmanager
async def open_replicas(bus: Bus, inbox: Inbox, life: Lifecycle) -> AsyncIterator[Replicas]:
    """Follow the orchestrators' events. The table fills in the background; whoever needs all of it waits for that."""
    replicas = Replicas(bus, inbox)
    subscription = await bus.subscribe(subjects.ORCHESTRATOR_EVENTS, replicas.take_event)
    bus.on_reconnect(replicas.start_over)
    life.start(replicas.watch_silence(), name="replicas-silence")
    try:
        yield replicas
    finally:
        await subscription.drain()
