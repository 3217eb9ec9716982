"""Drives the rollouts: one admin service at a time does what the plan says, as long as store and bus are up."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from services.admin.errors import StoreUnavailableError
from services.admin.rollouts.book import Entry, RolloutBook
from services.admin.rollouts.plan import next_move
from services.admin.rollouts.rollout import Rollout
from services.admin.rollouts.survey import Fleetwatch, Lap
from services.admin.rollouts.telling import Telling
from services.runtime.bus import BusAwayError
from services.runtime.lifecycle import Lifecycle

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.25
_LEASE_S: Final = 3.0
"""After so long another one takes over from a driver that has died."""
_MOST_TELLS: Final = 3
"""So often the same weights are told; an orchestrator that has not heard them by then learns them when it is back."""


class Driver:
    """Looks at every rollout that goes on, four times a second. Made by `driving`."""

    def __init__(self, book: RolloutBook, telling: Telling, watch: Fleetwatch, *, instance: str) -> None:
        self._book = book
        self._telling = telling
        self._watch = watch
        self._instance = instance
        self._laps: dict[str, Lap] = {}
        self._told: dict[str, tuple[int, int]] = {}
        """Of each rollout, the epoch that was told last, and how often."""
        self._is_leaving = False

    async def drive(self) -> None:
        """Drive, for ever, whenever nobody else does. While the store or the bus is away, everything stays as it is."""
        is_driving = False
        while not self._is_leaving:
            was_driving, is_driving = is_driving, False
            with suppress(StoreUnavailableError, BusAwayError):
                is_driving = await self._book.drive(self._instance, for_s=_LEASE_S)
                if is_driving:
                    await self._telling.be_heard()
                    await self._look_at_all()
            if is_driving and not was_driving:
                log.info("driving rollouts")
            if not is_driving:
                self._laps.clear()
                self._told.clear()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def leave(self) -> None:
        """Let another one drive at once."""
        self._is_leaving = True
        with suppress(StoreUnavailableError):
            await self._book.stop_driving(self._instance)

    async def _look_at_all(self) -> None:
        entries = await self._book.going()
        going = {entry.rollout.id for entry in entries}
        for table in (self._laps, self._told):
            for rollout_id in table.keys() - going:
                del table[rollout_id]
        for entry in entries:
            # Each look may wait for those that do not answer, and all together for longer than the lease holds.
            if not await self._book.drive(self._instance, for_s=_LEASE_S):
                return
            await self._look_at(entry)

    async def _look_at(self, entry: Entry) -> None:
        rollout = entry.rollout
        if not await self._is_told(rollout):
            return
        if rollout.state.is_over:
            await self._book.settle(entry)
            return
        lap = self._laps.get(rollout.id)
        if lap is None or lap.number != rollout.lap:
            lap = self._laps[rollout.id] = self._watch.begin_lap(rollout)
        if rollout.is_draining:
            await self._telling.order_drain(self._watch.workers(rollout.server, rollout.from_version))
        after = next_move(rollout, lap.facts()).model_copy(update={"observed": lap.observed()})
        if after != rollout:
            await self._move(entry, after)

    async def _move(self, entry: Entry, after: Rollout) -> None:
        before = entry.rollout
        after = self._telling.with_word(before, after)
        changed = await self._book.replace(entry, after)
        if changed is None:
            return  # an operator was faster: the next look sees what is ordered
        if (after.state, after.step) != (before.state, before.step):
            log.info(
                "rollout moved",
                extra={
                    "server": after.server,
                    "version": after.to_version,
                    "state": after.state.value,
                    "step": after.step,
                    "weight": after.weight,
                    "reason": after.reason,
                },
            )
        if after.epoch != before.epoch and await self._is_told(after) and after.state.is_over:
            await self._book.settle(changed)

    async def _is_told(self, rollout: Rollout) -> bool:
        """Tell the weights where that has not been done; whether the fleet goes by them, or has been told enough."""
        epoch, times = self._told.get(rollout.id, (-1, 0))
        if epoch == rollout.epoch and times >= _MOST_TELLS:
            return True
        times = times + 1 if epoch == rollout.epoch else 1
        is_heard = await self._telling.tell_weights(rollout)
        self._told[rollout.id] = rollout.epoch, _MOST_TELLS if is_heard else times
        return is_heard or times >= _MOST_TELLS


@asynccontextmanager
async def driving(driver: Driver, life: Lifecycle) -> AsyncIterator[None]:
    """Drive in the background; at the end another one may do so at once."""
    life.start(driver.drive(), name="rollouts")
    try:
        yield
    finally:
        await driver.leave()
