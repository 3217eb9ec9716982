"""Takes orders off the bus and answers them, one after another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from nats.aio.msg import Msg

from bus_schemas.envelope import Message
from services.runtime.bus.connection import Bus, BusAwayError

log = logging.getLogger(__name__)

OrderT = TypeVar("OrderT")


class OrderTaker(Generic[OrderT]):
    """However long an order takes, the bus is heard meanwhile."""

    def __init__(
        self, bus: Bus, decode: Callable[[bytes], OrderT], obey: Callable[[OrderT], Awaitable[Message | None]]
    ) -> None:
        """Take what is done with orders.

        Args:
            bus: where they are answered.
            decode: reads an order; raises ValueError if it is none.
            obey: does what is ordered, and returns what is answered; None: nothing is.
        """
        self._bus = bus
        self._decode = decode
        self._obey = obey
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, message: Msg) -> None:
        """Obey the order in `message` in the background."""
        try:
            order = self._decode(message.data)
        except ValueError:
            log.warning("order is malformed")
            return
        task = asyncio.create_task(self._answer(order, message.reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, order: OrderT, reply: str) -> None:
        try:
            async with self._turn:
                answer = await self._obey(order)
        except Exception:  # the last line of defence: nobody waits for the task
            log.exception("order failed")
            return
        if answer is not None and reply:
            with suppress(BusAwayError):
                await self._bus.publish(reply, answer.encode())
