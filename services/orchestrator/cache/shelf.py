"""Where answers are kept: in this process's memory for a second, in the shared store for as long as they are fresh."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from services.orchestrator.cache.entry import Entry, Generations
from services.orchestrator.cache.keys import CacheKeys
from services.orchestrator.cache.l1 import L1
from services.orchestrator.cache.rules import Rule, lifetime
from services.orchestrator.cache.single_flight import AbandonedError, SingleFlight
from services.orchestrator.cache.store import CacheStore, Found, Place
from services.orchestrator.dispatch import Outcome
from services.runtime.store import StoreError

_CANNOT_SAY: Final = Found()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An answer that may be kept: under which rule, of which tool, and under which keys."""

    rule: Rule
    place: Place
    keys: CacheKeys

    @property
    def digests(self) -> tuple[str, ...]:
        """Where the answer may be; what is led with is the first."""
        match self.rule.scope:
            case "caller":
                return (self.keys.own,)
            case "public":
                return (self.keys.public,)
            case "result":
                return (self.keys.own, self.keys.public)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look on the shelf has shown."""

    fresh: Outcome | None = None
    stale: Outcome | None = None
    """It may stand in for a failing server."""
    generations: Generations | None = None
    """Under which an answer that is fetched now can be kept; None: nothing can."""
    leads: bool = False
    """Whether this orchestrator is the one that fetches the answer now."""
    is_led_elsewhere: bool = False
    """Whether another one is."""


class Shelf:
    """Finds and keeps answers. Without the store it finds nothing, and says so at once."""

    def __init__(self, store: CacheStore, l1: L1, *, is_bus_up: Callable[[], bool]) -> None:
        """`is_bus_up`: flushes are told on the bus; while it is away, memory alone is not believed."""
        self._store = store
        self._l1 = l1
        self._is_bus_up = is_bus_up
        self._look_ups: SingleFlight[str, Found] = SingleFlight()

    def distrust(self) -> None:
        """Believe nothing in memory that the store has not confirmed since now."""
        self._l1.distrust()

    def in_memory(self, wanted: Wanted) -> Outcome | None:
        """Return an answer that can be believed without the store's word; None: it is to be asked."""
        if self._is_bus_up() and (entry := self._trusted(wanted)) is not None:
            return _outcome(entry)
        return None

    async def find(self, wanted: Wanted, *, leads: bool) -> Seen:
        """Look for an answer; with `leads`, and if there is none, say who is to fetch it."""
        if (remembered := self.in_memory(wanted)) is not None:
            return Seen(fresh=remembered)
        found = await self._look_up_with_others(wanted, leads=leads)
        fresh = found.entry if found.fresh_s > 0 else None
        if fresh is None and found.generations is not None:
            fresh = self._put_meanwhile(wanted, found.generations)
        return Seen(
            fresh=None if fresh is None else _outcome(fresh),
            stale=_outcome(found.entry) if found.entry is not None and found.fresh_s <= 0 else None,
            generations=found.generations,
            leads=found.leads,
            is_led_elsewhere=found.is_led_elsewhere,
        )

    async def generations(self, wanted: Wanted) -> Generations | None:
        """Return under which an answer that is fetched now can be kept; None: nothing can."""
        return (await self._look_up(wanted, leads=False)).generations

    async def keep(self, wanted: Wanted, generations: Generations | None, outcome: Outcome) -> bool:
        """Put an answer where the next one looks; return whether it is there.

        Args:
            wanted: what it answers.
            generations: as they were before the server was asked.
            outcome: what the server said.
        """
        lasts = lifetime(wanted.rule, outcome.result)
        if lasts is None or generations is None:
            return False
        digest = wanted.keys.public if lasts.is_public else wanted.keys.own
        entry, kept_at = Entry(outcome.result, outcome.instance), time.monotonic()
        try:
            is_kept = await self._store.put(wanted.place, digest, entry, generations, lasts, lead=wanted.digests[0])
        except StoreError:
            return False
        if is_kept:
            self._l1.put(digest, entry, generations, confirmed_at=kept_at, fresh_s=lasts.fresh_s)
        return is_kept

    async def lead_on(self, wanted: Wanted) -> None:
        """Say that this orchestrator still fetches the answer. Raises StoreError."""
        await self._store.lead_on(wanted.digests[0])

    async def end_lead(self, wanted: Wanted) -> None:
        """Let others fetch the answer. Raises StoreError."""
        await self._store.end_lead(wanted.digests[0])

    def _trusted(self, wanted: Wanted) -> Entry | None:
        return next(filter(None, map(self._l1.trusted, wanted.digests)), None)

    def _put_meanwhile(self, wanted: Wanted, generations: Generations) -> Entry | None:
        """Of this process's own, one may have got there since the store looked."""
        found = (self._l1.of_generations(digest, generations) for digest in wanted.digests)
        return next(filter(None, found), None)

    async def _look_up_with_others(self, wanted: Wanted, *, leads: bool) -> Found:
        """Look it up, or wait for somebody's look-up that has begun just now."""
        digest = wanted.digests[0]
        look_up = self._look_ups.get(digest)
        if look_up is not None and self._l1.trusts(look_up.began_at):
            with suppress(AbandonedError):
                return await look_up.answer()
        with self._look_ups.open(digest) as look_up:
            found = await self._look_up(wanted, leads=leads)
            look_up.land(found)
        return found

    async def _look_up(self, wanted: Wanted, *, leads: bool) -> Found:
        asked_at = time.monotonic()
        try:
            found = await self._store.look_up(wanted.place, wanted.digests, leads=leads)
        except StoreError:
            return _CANNOT_SAY
        if found.entry is not None and found.generations is not None and found.fresh_s > 0:
            self._l1.put(found.digest, found.entry, found.generations, confirmed_at=asked_at, fresh_s=found.fresh_s)
        return found


def _outcome(entry: Entry) -> Outcome:
    return Outcome(entry.result, entry.instance, upstream_us=0, queue_us=0)
