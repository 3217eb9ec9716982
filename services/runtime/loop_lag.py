"""How late the event loop is: whatever keeps it busy keeps every query of the process waiting."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

_EVERY_S: Final = 0.25
_WINDOW_S: Final = 10.0
"""As long as between two scrapes: what happens between them is seen by the second."""


class LoopLag:
    """The longest delay of the last ten to twenty seconds, found by sleeping and looking at the clock."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Register the gauge; it stays at 0 until `sample` runs."""
        self._clock = clock
        self._sleep = sleep
        self._longest_s = 0.0
        self._longest_before_s = 0.0
        Gauge(
            "busbar_event_loop_lag_seconds",
            "How late the process came to its work at worst, in the last ten to twenty seconds.",
            registry=registry,
        ).set_function(lambda: self.longest_s)

    @property
    def longest_s(self) -> float:
        """The longest delay of late, in seconds."""
        return max(self._longest_s, self._longest_before_s)

    async def sample(self) -> None:
        """Measure until cancelled."""
        window_began = self._clock()
        while True:
            due = self._clock() + _EVERY_S
            await self._sleep(_EVERY_S)
            now = self._clock()
            if now - window_began >= _WINDOW_S:
                self._longest_before_s, self._longest_s = self._longest_s, 0.0
                window_began = now
            self._longest_s = max(self._longest_s, now - due)
