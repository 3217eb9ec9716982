"""The supervisor on the bus: it takes orders, and hears of its workers. Without the bus all goes on as it is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Never
from urllib.parse import urlsplit

from bus_schemas import subjects
from bus_schemas.config import (
    ApplyConfig,
    DeployServer,
    PrepareConfig,
    StopAnswer,
    StopVersion,
    SupervisorOrder,
    decode_supervisor_order,
)
from bus_schemas.envelope import Message
from bus_schemas.rollouts import RolloutWeights
from bus_schemas.workers import WorkerDraining, decode_worker_event
from services.runtime.bus import Bus, BusAwayError, BusDeniedError, BusMessage, open_bus, open_inbox
from services.runtime.bus.orders import OrderTaker
from services.runtime.lifecycle import Lifecycle, end_task
from services.supervisor.crew import Crew
from services.supervisor.deployments import Deployments
from services.supervisor.reloading import Reloading
from services.supervisor.weights import Weights

log = logging.getLogger(__name__)

_AGAIN_AFTER_S: Final = 0.5
_CLEANUP_S: Final = 6.0
"""Longer than the last fence of a connection takes."""
_DRAINING: Final = b'"draining"'
"""Every second each worker says something, some of it megabytes; only this is read."""


class Control:
    """Obeys, one order after another."""

    def __init__(
        self, crew: Crew, reloading: Reloading, deployments: Deployments, weights: Weights, *, instance: str
    ) -> None:
        self._crew = crew
        self._reloading = reloading
        self._deployments = deployments
        self._weights = weights
        self._instance = instance

    async def listen(self, url: str) -> Never:
        """Take orders on the bus at `url` for ever; where it is away, when it is there."""
        while True:
            life = Lifecycle()
            # Whoever tries to connect before NATS listens fills the terminal with warnings.
            while not await _is_listening(url):
                await asyncio.sleep(_AGAIN_AFTER_S)
            with suppress(BusAwayError, BusDeniedError):
                async with (
                    life,
                    open_bus(url, service="supervisor", instance=self._instance, life=life) as bus,
                    open_inbox(bus) as inbox,
                ):
                    with self._weights.spoken_on(bus, inbox):
                        await self._take_orders(bus)
                        await life.stopping.wait()
            log.warning("the bus does not let the supervisor take orders, it is asked again")
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def obey(self, order: SupervisorOrder) -> Message | None:
        """Do what is ordered; return the answer."""
        match order:
            case PrepareConfig():
                return await self._reloading.prepare()
            case ApplyConfig():
                return await self._reloading.apply(order.digest)
            case DeployServer():
                return await self._deployments.deploy(order)
            case StopVersion():
                return StopAnswer(instance=self._instance, outcome=self._deployments.stop_version(order))

    async def hear_worker(self, message: BusMessage) -> None:
        """Let a worker that was ordered to leave do so for good."""
        if _DRAINING not in message.data:
            return
        with suppress(ValueError):
            event = decode_worker_event(message.data)
            if isinstance(event, WorkerDraining) and event.by_order:
                self._crew.retire(event.instance)

    async def hear_weights(self, message: BusMessage) -> None:
        """Follow the rollout of a version that is being deployed."""
        with suppress(ValueError):
            self._deployments.take_word(RolloutWeights.model_validate_json(message.data))

    async def _take_orders(self, bus: Bus) -> None:
        await bus.subscribe(subjects.WORKER_EVENTS, self.hear_worker)
        await bus.subscribe(subjects.ROLLOUT_EVENTS, self.hear_weights)
        bus.repeat_after_reconnects(self._deployments.catch_up, name="weights")
        await self._deployments.catch_up()
        orders = OrderTaker(bus, decode_supervisor_order, self.obey)
        await bus.subscribe(subjects.SUPERVISOR, orders.take)


class Background:
    """What goes on beside; given up when the context ends. What fails is told in the log."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)

    async def give_up(self) -> None:
        """Cancel all of it, and return when it has ended."""
        await asyncio.gather(*(end_task(task, cleanup_s=_CLEANUP_S) for task in self._tasks))


@asynccontextmanager
async def in_background() -> AsyncIterator[Background]:
    """Yield where background work is begun."""
    background = Background()
    try:
        yield background
    finally:
        await background.give_up()


async def _is_listening(url: str) -> bool:
    """Whether any of the addresses in `url` takes connections."""
    for part in url.split(","):
        address = urlsplit(part.strip() if "://" in part else f"nats://{part.strip()}")
        with suppress(OSError):
            async with asyncio.timeout(2):
                _, writer = await asyncio.open_connection(address.hostname or "127.0.0.1", address.port or 4222)
            writer.close()
            return True
    return False
