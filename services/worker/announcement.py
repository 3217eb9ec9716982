"""What the worker says of itself, and when: joined, heartbeats, draining, left; orders it takes."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from bus_schemas import subjects
from bus_schemas.control import (
    Acknowledged,
    AnswerAsked,
    DescribeWorker,
    DrainWorker,
    FindState,
    StateFound,
    decode_order,
)
from bus_schemas.envelope import Message
from bus_schemas.workers import (
    Catalogue,
    ServerFault,
    WorkerDraining,
    WorkerHeartbeat,
    WorkerJoined,
    WorkerLeft,
    WorkerState,
)
from services.runtime.bus import Bus, BusAwayError, BusMessage
from services.runtime.bus.connection import MessageTooLargeError
from services.runtime.fleet import HEARTBEAT_INTERVAL_S
from services.worker.callers import CallerSessions
from services.worker.consumer import CallConsumer
from services.worker.mcp.keeper import SessionKeeper
from services.worker.mcp.session import ListedCatalogue
from services.worker.states import GivenStates

log = logging.getLogger(__name__)


class Announcement:
    """Tells the fleet how this worker does; the truth is read from the keeper and the consumer each time."""

    def __init__(
        self,
        bus: Bus,
        keeper: SessionKeeper,
        consumer: CallConsumer,
        states: GivenStates,
        callers: CallerSessions | None,
        *,
        server: str,
        version: str,
        instance: str,
        max_in_flight: int,
        drain: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._keeper = keeper
        self._consumer = consumer
        self._states = states
        self._callers = callers
        self._identity = {"server": server, "version": version, "instance": instance}
        self._subject = subjects.worker_event(server, instance)
        self._instance = instance
        self._max_in_flight = max_in_flight
        self._drain = drain
        self.started_at = time.time()
        self._is_draining = self._is_ordered = False
        self._has_left = False
        self._listed: ListedCatalogue | None = None
        self._catalogue: Catalogue | None = None
        self._digest: str | None = None

    @property
    def fault(self) -> ServerFault | None:
        """Why the server has no working session, while it has none."""
        return self._keeper.status.fault

    @property
    def state(self) -> WorkerState:
        """Serving only while calls are taken and there is a session to hand them to."""
        if self._is_draining:
            return WorkerState.DRAINING
        if self._consumer.is_consuming and self._keeper.session is not None:
            return WorkerState.SERVING
        return WorkerState.UNAVAILABLE

    async def tell(self) -> None:
        """Say how things are now: joined with the catalogue where that is news, else a heartbeat."""
        digest_before = self._digest
        joined = self._joined()
        is_news = joined is not None and self._digest != digest_before
        await self._publish(joined if is_news and joined is not None else self._heartbeat())

    async def beat(self) -> None:
        """Say it every second."""
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)
            await self._publish(self._heartbeat())

    async def follow(self, callers: CallerSessions) -> None:
        """Say at once which callers have a session here, whenever that changes."""
        async for _ in callers.changes():
            await self.tell()

    async def tell_draining(self) -> None:
        """Say that no new calls are taken, and whether that was ordered over the bus."""
        self._is_draining = True
        await self._publish(WorkerDraining(**self._identity, by_order=self._is_ordered))

    async def tell_left(self) -> None:
        await self._publish(WorkerLeft(**self._identity, answered=self._consumer.stats.requests))

    async def take_order(self, message: BusMessage) -> None:
        """Obey an order, and acknowledge it."""
        try:
            order = decode_order(message.data)
        except ValueError:
            log.warning("order is malformed")
            return
        answer: Message
        match order:
            case DescribeWorker():
                answer = self._joined() or self._heartbeat()
            case DrainWorker():
                log.info("drain ordered")
                answer = Acknowledged(instance=self._instance)
                await self._obey_drain()
            case FindState():
                answer = StateFound(instance=self._instance, is_held=self._states.holds(order.state_sha256))
            case AnswerAsked():
                self._consumer.take_answer(order)
                return
        if message.reply:
            await self._send(message.reply, answer)

    async def _obey_drain(self) -> None:
        self._is_ordered = True
        if self._is_draining:
            await self.tell_draining()  # for another reason until now, after which it would be started again
        self._drain()

    async def _publish(self, message: Message) -> None:
        if self._has_left:
            return  # who is heard after its last word counts as a worker again
        self._has_left = isinstance(message, WorkerLeft)
        try:
            await self._send(self._subject, message)
        except BusAwayError:
            log.debug("event not sent, the bus is away")

    async def _send(self, subject: str, message: Message) -> None:
        try:
            await self._bus.publish(subject, message.encode())
        except MessageTooLargeError:
            log.warning("the catalogue is larger than the bus's messages, it is not announced")
            # Without its digest nobody asks for it every second, and until the server is listed anew it is none.
            self._catalogue = self._digest = None
            await self._bus.publish(subject, self._heartbeat().encode())

    def _report(self) -> dict[str, Any]:
        keeper = self._keeper
        return {
            **self._identity,
            "state": self.state,
            "started_at": self.started_at,
            "sent_at": time.time(),
            "in_flight": self._consumer.in_flight,
            "max_in_flight": self._max_in_flight,
            "restarts": keeper.status.restarts,
            "catalogue": self._digest,
            "latency_ms": None if keeper.latency_s is None else keeper.latency_s * 1000,
            "checked_at": keeper.checked_at,
            "fault": self.fault,
            "callers": [] if self._callers is None else self._callers.digests(),
        }

    def _heartbeat(self) -> WorkerHeartbeat:
        return WorkerHeartbeat(**self._report())

    def _joined(self) -> WorkerJoined | None:
        """The report with the catalogue; None while the server has never been listed."""
        listed = self._keeper.status.catalogue
        if listed is not self._listed and listed is not None:
            self._listed = listed
            self._catalogue = Catalogue(
                tools=listed.tools,
                resources=listed.resources,
                resource_templates=listed.resource_templates,
                prompts=listed.prompts,
            )
            self._digest = self._catalogue.digest()
        if self._catalogue is None:
            return None
        return WorkerJoined(**self._report(), offers=self._catalogue)
