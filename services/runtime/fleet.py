"""The workers there are, from their own words: a table in memory, never asked for on a caller's time."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from bus_schemas import subjects
from bus_schemas.control import DescribeWorker
from bus_schemas.workers import (
    Catalogue,
    WorkerDraining,
    WorkerHeartbeat,
    WorkerJoined,
    WorkerLeft,
    WorkerState,
    decode_worker_event,
)
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox
from services.runtime.bus.discovery import find_instances
from services.runtime.bus.inbox import NoRespondersError
from services.runtime.lifecycle import Lifecycle

log = logging.getLogger(__name__)

HEARTBEAT_INTERVAL_S = 1.0
MISSED_HEARTBEATS = 3
HEARD_ALL_AFTER_S = 1.25 * HEARTBEAT_INTERVAL_S
"""Who listens for that long has heard everybody who is not frozen."""
_DESCRIBE_TIMEOUT_S = 2.0
_DESCRIBE_AT_ONCE = 32

Report = WorkerJoined | WorkerHeartbeat


@dataclass(slots=True)
class Worker:
    """The last that is known of one worker."""

    report: Report
    heard_at: float
    """When it was last heard, in seconds of the monotonic clock."""

    @property
    def is_serving(self) -> bool:
        return self.report.state is WorkerState.SERVING


class Fleet:
    """Every live worker. A worker that is silent for three heartbeats is dead."""

    def __init__(self, bus: Bus, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._inbox = inbox
        self._clock = clock
        self._workers: dict[str, Worker] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._describing: dict[str, asyncio.Task[None]] = {}
        self._describe_slots = asyncio.Semaphore(_DESCRIBE_AT_ONCE)
        self._death_listeners: list[Callable[[Report], None]] = []
        self._silence_listeners: list[Callable[[Report], None]] = []
        self._serving_listeners: list[Callable[[Report], None]] = []
        self._servers_seen: set[str] = set()
        self._looked_at = clock()
        self.revision = 0
        """Grows whenever a worker, a state or a catalogue changes; what is derived from the table compares it."""

    def workers(self) -> Iterable[Worker]:
        return self._workers.values()

    def worker(self, instance: str) -> Worker | None:
        """The live worker of that instance, if there is one."""
        return self._workers.get(instance)

    def has_heard(self, instance: str, *, within_s: float) -> bool:
        """Whether that worker has been heard in the last `within_s` seconds."""
        worker = self._workers.get(instance)
        return worker is not None and self._clock() - worker.heard_at <= within_s

    def catalogue(self, worker: Worker) -> Catalogue | None:
        """What the worker offers, or None while that is not known yet. One object per distinct catalogue."""
        digest = worker.report.catalogue
        return None if digest is None else self._catalogues.get(digest)

    def was_seen(self, server: str) -> bool:
        """Whether any worker has ever announced this server."""
        return server in self._servers_seen

    def on_death(self, listener: Callable[[Report], None]) -> None:
        """Call `listener` for each worker that is gone, whether it left or fell silent."""
        self._death_listeners.append(listener)

    def on_silence(self, listener: Callable[[Report], None]) -> None:
        """Call `listener`, too, for each worker that fell silent: it has not ended what it had taken."""
        self._silence_listeners.append(listener)

    def on_serving(self, listener: Callable[[Report], None]) -> None:
        """Call `listener` for each worker that begins to serve: a new one, and one whose server is back."""
        self._serving_listeners.append(listener)

    async def take_census(self) -> None:
        """Ask everybody who is there; for the start and for after a reconnect."""
        found = await find_instances(self._inbox)
        for server, instance in found:
            self._describe(server, instance)
        await asyncio.gather(*self._describing.values(), return_exceptions=True)

    async def watch_silence(self) -> None:
        """Count out the workers that are not heard any more."""
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL_S / 4)
            with suppress(BusAwayError):
                await self._bus.fence()  # takes as long as the bus does not answer
            self.bury_silent()

    def bury_silent(self) -> None:
        """Forget the workers that missed three heartbeats; call it every quarter of one.

        Nobody is buried for a time in which nobody could be heard: the bus was away, or this was not called.
        """
        now = self._clock()
        was_deaf = now - self._looked_at > HEARTBEAT_INTERVAL_S
        self._looked_at = now
        if was_deaf or not self._bus.connected:
            for worker in self._workers.values():
                worker.heard_at = now
            return
        too_old = now - MISSED_HEARTBEATS * HEARTBEAT_INTERVAL_S
        for instance in [name for name, worker in self._workers.items() if worker.heard_at < too_old]:
            report = self._workers[instance].report
            log.warning("worker is silent", extra={"server": report.server, "instance": instance})
            self._remove(instance)
            for listener in self._silence_listeners:
                listener(report)

    def take_event(self, message: BusMessage) -> None:
        """Enter one event of a worker into the table."""
        try:
            event = decode_worker_event(message.data)
        except ValueError:
            log.warning("worker event is malformed")
            return
        if message.subject != subjects.worker_event(event.server, event.instance):
            log.warning("worker event is on a foreign subject")
            return
        match event:
            case WorkerJoined() | WorkerHeartbeat():
                self._enter(event)
            case WorkerDraining():
                self._mark_draining(event.instance)
            case WorkerLeft():
                self._remove(event.instance)

    def _enter(self, report: Report) -> None:
        self._servers_seen.add(report.server)
        had_catalogue = report.catalogue in self._catalogues
        if isinstance(report, WorkerJoined) and report.catalogue is not None:
            self._catalogues.setdefault(report.catalogue, report.offers)
            # The table keeps one copy of a catalogue, however many workers announce it.
            report = report.model_copy(update={"offers": self._catalogues[report.catalogue]})
        known = self._workers.get(report.instance)
        self._workers[report.instance] = Worker(report, self._clock())
        has_catalogue = report.catalogue in self._catalogues
        if known is None or _differs(known.report, report) or has_catalogue != had_catalogue:
            self._changed()
        if report.state is WorkerState.SERVING and (known is None or _was_away(known.report, report)):
            for listener in self._serving_listeners:
                listener(report)
        if report.catalogue is not None and not has_catalogue:
            self._describe(report.server, report.instance)

    def _mark_draining(self, instance: str) -> None:
        if (worker := self._workers.get(instance)) is not None:
            worker.report = worker.report.model_copy(update={"state": WorkerState.DRAINING})
            self._changed()

    def _remove(self, instance: str) -> None:
        if (worker := self._workers.pop(instance, None)) is None:
            return
        self._changed()
        for listener in self._death_listeners:
            listener(worker.report)

    def _changed(self) -> None:
        self.revision += 1
        if not self._catalogues:
            return
        used = {worker.report.catalogue for worker in self._workers.values()}
        for digest in [digest for digest in self._catalogues if digest not in used]:
            del self._catalogues[digest]

    def _describe(self, server: str, instance: str) -> None:
        if instance not in self._describing:
            task = asyncio.create_task(self._ask_to_describe(server, instance))
            self._describing[instance] = task
            task.add_done_callback(lambda _: self._describing.pop(instance, None))

    async def _ask_to_describe(self, server: str, instance: str) -> None:
        async with self._describe_slots:
            try:
                reply = await self._inbox.ask(
                    subjects.control(server, instance), DescribeWorker().encode(), timeout_s=_DESCRIBE_TIMEOUT_S
                )
                report = decode_worker_event(reply.data)
            except (NoRespondersError, BusAwayError, TimeoutError, ValueError):
                return  # not one of ours, or it has left; its next heartbeat leads here again
            if isinstance(report, WorkerJoined | WorkerHeartbeat) and report.instance == instance:
                self._enter(report)


def _differs(old: Report, new: Report) -> bool:
    return (old.state, old.catalogue, old.version, old.fault) != (new.state, new.catalogue, new.version, new.fault)


def _was_away(old: Report, new: Report) -> bool:
    """Whether the session was away between the reports; of what comes quickly, only the last is told."""
    return old.state is not WorkerState.SERVING or old.restarts != new.restarts


@asynccontextmanager
async def open_fleet(bus: Bus, inbox: Inbox, life: Lifecycle) -> AsyncIterator[Fleet]:
    """Follow the workers' events; the table holds whoever is there when this returns."""
    fleet = Fleet(bus, inbox)
    subscription = await bus.receive(subjects.WORKER_EVENTS, fleet.take_event)
    bus.repeat_after_reconnects(fleet.take_census, name="fleet-census")
    await fleet.take_census()
    life.start(fleet.watch_silence(), name="fleet-silence")
    try:
        yield fleet
    finally:
        await subscription.drain()
