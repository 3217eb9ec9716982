"""Whether the bus answers: a connection may be up, and nothing behind it move."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Never, Protocol

from services.runtime.bus import BusAwayError
from services.runtime.fleet import HEARTBEAT_INTERVAL_S, MISSED_HEARTBEATS

_SILENT_S: Final = MISSED_HEARTBEATS * HEARTBEAT_INTERVAL_S
_ASK_EVERY_S: Final = HEARTBEAT_INTERVAL_S / 4


class Answering(Protocol):
    """What of a bus is asked."""

    @property
    def connected(self) -> bool:
        """See `Bus.connected`."""

    async def fence(self) -> None:
        """See `Bus.fence`."""


class Hearing:
    """Asks the bus all the time. As a worker, it is gone when it has been silent for three heartbeats."""

    def __init__(self, bus: Answering, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._asked_at: float | None = None
        """Since when there is a question without an answer. A time in which we were stopped rarely falls into one."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, and it is not silent."""
        is_silent = self._asked_at is not None and self._clock() - self._asked_at >= _SILENT_S
        return self._bus.connected and not is_silent

    async def ask(self) -> Never:
        """Ask for ever."""
        while True:
            if self._asked_at is None:
                self._asked_at = self._clock()
            try:
                await self._bus.fence()  # ends also by itself, so that a new connection is asked anew
            except BusAwayError:
                pass
            else:
                self._asked_at = None
            await asyncio.sleep(_ASK_EVERY_S)
