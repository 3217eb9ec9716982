"""Builds the worker: everything in the order in which it opens; it closes in reverse."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from bus_schemas import subjects
from bus_schemas.calls import CallHeaders
from bus_schemas.inboxes import bulk_instance
from services.runtime.bus import open_bus
from services.runtime.bus.discovery import ServiceFace, discoverable
from services.runtime.bus.metrics import BusMetrics
from services.runtime.config.connections import Connection
from services.runtime.config.policy import ServerPolicy
from services.runtime.garbage import spare_collector
from services.runtime.lifecycle import Lifecycle, new_instance_id
from services.runtime.metrics import new_registry
from services.runtime.tracing import open_tracing
from services.worker.announcement import Announcement
from services.worker.call_metrics import CallMetrics
from services.worker.callers import CallerSessions
from services.worker.config import ConfigReading, reading_config_anew
from services.worker.consumer import CallConsumer
from services.worker.execution import Execution, UpstreamOf
from services.worker.mcp.keeper import SessionKeeper
from services.worker.mcp.opening import SessionOpener
from services.worker.metrics import WorkerMetrics
from services.worker.presence import Presence
from services.worker.replies import Replies
from services.worker.returns import open_returns
from services.worker.settings import WorkerSettings
from services.worker.slots import Slots
from services.worker.states import GivenStates
from services.worker.stderr_files import stderr_file

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which server this worker stands in front of, and how it is reached."""

    server: str
    version: str
    policy: ServerPolicy
    connection: Connection
    config: Path
    """The file that both were read from."""
    read_connection: Callable[[], Connection]
    """Reads the connection anew. Raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A running worker, as its process sees it."""

    consumer: CallConsumer
    announcement: Announcement
    presence: Presence
    settings: WorkerSettings
    registry: CollectorRegistry

    async def leave(self) -> None:
        """Leave without losing a call."""
        await self.presence.leave(announce_s=self.settings.announce_s, longest_s=self.settings.drain_timeout_s)


@asynccontextmanager
async def open_worker(assignment: Assignment, settings: WorkerSettings, life: Lifecycle) -> AsyncIterator[Worker]:
    """Open the session first and the bus inside it: the bus closes before the session does."""
    server, version, policy = assignment.server, assignment.version, assignment.policy
    url, credentials = settings.nats_url.get_secret_value(), settings.nats_credentials
    name_on_bus = f"worker.{server}"  # so that permissions can keep the workers of servers apart
    instance = settings.instance or new_instance_id()
    registry = new_registry()
    log_path = stderr_file(settings.state_dir, server, instance)
    opener = SessionOpener(assignment.connection, era=policy.era, log_path=log_path)
    keeper = SessionKeeper(opener.open, owns_process=opener.owns_process)
    async with life, AsyncExitStack() as sessions:
        life.start(keeper.run(), name="session")
        callers = None
        if policy.session == "caller":
            callers = await sessions.enter_async_context(
                CallerSessions(opener.open_another, most=settings.max_callers, idle_s=settings.caller_idle_s)
            )
            life.start(callers.end_idle(), name="idle-callers")
        async with (
            open_bus(url, service=name_on_bus, instance=instance, life=life, credentials=credentials) as bus,
            open_bus(
                url, service=name_on_bus, instance=bulk_instance(instance), life=life, credentials=credentials
            ) as bulk,
            open_returns(bus, bulk) as returns,
            open_tracing(settings, service="worker", instance=instance) as tracer,
        ):
            BusMetrics(registry).watch(bus, bulk)
            replies = Replies(
                bus, bulk, returns, instance=instance, most_undelivered_bytes=settings.max_undelivered_bytes
            )
            slots = Slots(
                policy.max_in_flight,
                longest_line=settings.longest_line,
                clock=time.monotonic,
                has_room=replies.have_room,
                # A caller's own session may be up while the one that is probed is not.
                is_served=lambda: callers is not None or keeper.session is not None,
            )
            states = GivenStates()
            execution = Execution(
                _upstream_of(keeper, callers),
                slots,
                states,
                CallMetrics(registry, server, version),
                partial(tracer.span, "call", server=server, version=version),
                timeout_s=policy.timeout_s,
                forward_headers=policy.forward_headers,
            )
            consumer = CallConsumer(bus, execution, replies, server=server, version=version, instance=instance)
            announcement = Announcement(
                bus,
                keeper,
                consumer,
                states,
                callers,
                server=server,
                version=version,
                instance=instance,
                max_in_flight=policy.max_in_flight,
                drain=life.stop,
            )
            presence = Presence(keeper, slots, consumer, announcement)
            metrics = WorkerMetrics(registry, server, version)
            metrics.watch_load(consumer, slots, replies)
            metrics.watch_session(keeper, announcement)
            face = ServiceFace(
                name=server,
                version=version,
                instance=instance,
                description="A Busbar worker in front of an MCP server",
                subject=subjects.call(server, version),
                queue=subjects.call_queue(server, version),
                started_at=announcement.started_at,
                stats=consumer.stats,
                metadata=lambda: {"state": announcement.state.value, "instance": instance, "version": version},
            )
            reading = ConfigReading(
                execution,
                assignment.config,
                assignment.read_connection,
                server=server,
                instance=instance,
                is_pinned=settings.config_is_pinned,
            )
            async with discoverable(bus, face), reading_config_anew(bus, reading):
                await bus.subscribe(subjects.control(server, instance), announcement.take_order)
                await bus.subscribe(subjects.cancel(server), consumer.take_cancel)
                life.start(consumer.acknowledge_held(), name="acknowledgements")
                life.start(announcement.beat(), name="heartbeat")
                life.start(presence.follow(), name="presence")
                if callers is not None:
                    life.start(announcement.follow(callers), name="callers")
                log.info("worker started", extra={"server": server, "version": version, "instance": instance})
                spare_collector()
                yield Worker(consumer, announcement, presence, settings, registry)


def _upstream_of(keeper: SessionKeeper, callers: CallerSessions | None) -> UpstreamOf:
    if callers is None:
        return lambda _: keeper
    return lambda headers: callers.of(
        headers.principal, was_lost=headers.session_lost, capabilities=_capabilities(headers)
    )


def _capabilities(headers: CallHeaders) -> Mapping[str, Any]:
    """What the client of a call can be asked; nothing, if that is not well-formed."""
    try:
        return msgspec.json.decode(headers.client_capabilities or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
