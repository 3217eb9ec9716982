"""What a worker shows of its load, its session with the server and its senders' clocks."""

import math
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from bus_schemas.workers import WorkerState
from services.runtime.metrics import CountedElsewhere
from services.worker.announcement import Announcement
from services.worker.consumer import CallConsumer
from services.worker.mcp.keeper import SessionKeeper
from services.worker.replies import Replies
from services.worker.slots import Slots


class WorkerMetrics:
    """What is read whenever somebody scrapes; each series says which server and version the worker is for."""

    def __init__(self, registry: CollectorRegistry, server: str, version: str) -> None:
        self._registry = registry
        self._labels = {"server": server, "version": version}

    def watch_load(self, consumer: CallConsumer, slots: Slots, replies: Replies) -> None:
        """Tell what it works on."""
        clocks = consumer.clocks
        self._gauge("in_flight", "Calls that this worker holds.", lambda: consumer.in_flight)
        self._gauge("slots", "Calls that may run at once.", lambda: slots.count)
        self._gauge("slots_in_use", "Calls that run.", lambda: slots.in_use)
        self._gauge("queue_length", "Calls that wait for a slot.", lambda: slots.waiting)
        self._gauge(
            "undelivered_bytes", "Results that are not delivered for certain.", lambda: replies.undelivered_bytes
        )
        self._gauge(
            "clock_offset_seconds",
            "How far an orchestrator's clock is from this worker's at worst, journey included.",
            lambda: clocks.largest_offset_s,
        )
        self._gauge(
            "call_delay_seconds",
            "How much longer than usual a call was on the bus at worst, in the last ten to twenty seconds.",
            lambda: clocks.longest_delay_s,
        )

    def watch_session(self, keeper: SessionKeeper, announcement: Announcement) -> None:
        """Tell how it stands with its server, and what it says of itself."""
        self._gauge(
            "session_up", "1 while the session with the server works, else 0.", lambda: keeper.session is not None
        )
        self._gauge(
            "probe_latency_seconds",
            "The latest round trip to the server; NaN before the first.",
            lambda: math.nan if keeper.latency_s is None else keeper.latency_s,
        )
        self._counter(
            "session_restarts_total",
            "Times that the session was opened anew; a server that the worker starts is a new process then.",
            lambda: keeper.status.restarts,
        )
        self._counter("catalogue_lists_total", "Times that the server's lists were read.", lambda: keeper.listings)
        states = Gauge(
            "mcp_worker_state",
            "1 for the state that the worker is in.",
            [*self._labels, "state"],
            registry=self._registry,
        )
        for state in WorkerState:
            states.labels(*self._labels.values(), state.value).set_function(partial(_is_in, announcement, state))

    def _gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        gauge = Gauge(f"mcp_worker_{name}", meaning, [*self._labels], registry=self._registry)
        gauge.labels(*self._labels.values()).set_function(value)

    def _counter(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        CountedElsewhere(f"mcp_worker_{name}", meaning, value, registry=self._registry, labels=self._labels)


def _is_in(announcement: Announcement, state: WorkerState) -> bool:
    return announcement.state is state
