"""The supervisor on the bus: it takes orders, and hears of its workers. Without the bus all goes on as it is."""

import asyncio
import logging
from contextlib import suppress
from typing import Final, Never

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
from services.runtime.lifecycle import Lifecycle
from services.supervisor.crew import Crew
from services.supervisor.deployments import Deployments
from services.supervisor.probes import is_listening
from services.supervisor.reloading import Reloading
from services.supervisor.weights import Weights

log = logging.getLogger(__name__)

_AGAIN_AFTER_S: Final = 0.5
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
            while not await is_listening(url):
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
