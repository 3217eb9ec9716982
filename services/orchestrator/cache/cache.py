"""An answer from memory, from the store, from somebody who is asking already, or from the server: in this order."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from bus_schemas.queries import CacheMode, CacheUse, Query
from services.orchestrator.cache.entry import Entry, Generations
from services.orchestrator.cache.keys import CacheKeys
from services.orchestrator.cache.l1 import L1
from services.orchestrator.cache.metrics import CacheMetrics
from services.orchestrator.cache.rules import Rule, is_complete, lifetime, rule_for
from services.orchestrator.cache.single_flight import AbandonedError, Flight, SingleFlight
from services.orchestrator.cache.store import CacheStore, Found, Place
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.context import Course, StandIn
from services.orchestrator.dispatch import Outcome
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import Policy
from services.runtime.errors import DeadlineExceededError, QueryError
from services.runtime.store import StoreError

_NOT_ASKED: Final = Found()
_LEAD_ON_S: Final = 0.7
_FIRST_POLL_S: Final = 0.01
_LONGEST_POLL_S: Final = 0.1

Ask = Callable[[], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of which version, by whom."""

    query: Query
    version: LiveVersion
    principal: Principal
    forwarded: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An answer that may be kept: of which version, under which rule, and where it is."""

    version: LiveVersion
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


class AnswerCache:
    """Gives answers again as long as that is right. Without the store it asks, each question once at a time."""

    def __init__(
        self, policy: Policy, store: CacheStore, l1: L1, metrics: CacheMetrics, *, is_bus_up: Callable[[], bool]
    ) -> None:
        """`is_bus_up`: flushes are told on the bus; while it is away, memory alone is not believed."""
        self._policy = policy
        self._store = store
        self._l1 = l1
        self._metrics = metrics
        self._is_bus_up = is_bus_up
        self._look_ups: SingleFlight[str, Found] = SingleFlight()
        self._flights: SingleFlight[tuple[str, Generations | None], Outcome | None] = SingleFlight()

    def distrust(self) -> None:
        """Believe nothing in memory that the store has not confirmed since now, and join nobody who asks already."""
        self._l1.distrust()
        self._flights = SingleFlight()

    async def answer(self, question: Question, course: Course, ask: Ask) -> Outcome:
        """Return the answer, and note in `course` where it came from.

        Raises:
            DeadlineExceededError: it did not come in time from whoever was asking already.
            QueryError: as `ask` does.
        """
        wanted = self._wanted(question)
        if wanted is None:
            course.cache = CacheUse.OFF
            return await ask()
        match question.query.cache:
            case CacheMode.BYPASS:
                course.cache = CacheUse.BYPASS
                return await ask()
            case CacheMode.REFRESH:
                course.cache = CacheUse.REFRESH
                found = await self._look_up(wanted, leads=False)
                outcome = await ask()
                await self._keep(wanted, found, outcome)
                return outcome
            case CacheMode.DEFAULT:
                return await self._find_or_ask(wanted, course, ask)

    async def recall(self, question: Question, course: Course) -> Outcome | None:
        """Return the fresh answer of a server that cannot be asked now; a stale one is noted in `course`."""
        wanted = self._wanted(question)
        if wanted is None or question.query.cache is not CacheMode.DEFAULT:
            return None
        outcome, _ = await self._find(wanted, course, leads=False)
        return outcome and self._hit(outcome, CacheUse.HIT, course)

    def _wanted(self, question: Question) -> _Wanted | None:
        query, version = question.query, question.version
        rule = rule_for(query, self._policy.of(version.server), version)
        if rule is None:
            return None
        try:
            keys = CacheKeys(query, version, question.principal, question.forwarded)
        except ValueError:
            return None
        return _Wanted(version, rule, Place(version.server, query.target), keys)

    async def _find_or_ask(self, wanted: _Wanted, course: Course, ask: Ask) -> Outcome:
        while True:
            outcome, found = await self._find(wanted, course, leads=wanted.rule.is_certain)
            if outcome is not None:
                return self._hit(outcome, CacheUse.HIT, course)
            if not wanted.rule.is_certain:
                return await self._ask_perhaps_keep(wanted, found, course, ask)
            key = wanted.digests[0], found.generations
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(self._flights.open(key), wanted, found, course, ask)
            try:
                async with _until(course.deadline):
                    outcome = await flight.answer()
            except AbandonedError:
                continue
            if outcome is None:
                return await self._miss(ask, course)
            return self._hit(outcome, CacheUse.COALESCED, course)

    async def _lead(
        self, flight: Flight[Outcome | None], wanted: _Wanted, found: Found, course: Course, ask: Ask
    ) -> Outcome:
        """Get the answer for all of this process who want the same."""
        with flight:
            try:
                outcome = await self._await_elsewhere(wanted, found, course, ask)
            except QueryError as error:
                # Who ran out of time speaks for nobody who has more.
                if time.monotonic() < course.deadline:
                    flight.fail(error)
                raise
            flight.land(outcome if is_complete(outcome.result) else None)
        return outcome

    async def _await_elsewhere(self, wanted: _Wanted, found: Found, course: Course, ask: Ask) -> Outcome:
        """Wait while another orchestrator asks; ask where none does, or when it has come back without an answer."""
        wait_s = _FIRST_POLL_S
        async with _until(course.deadline):
            while found.is_led_elsewhere:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_POLL_S)
                outcome, found = await self._find(wanted, course, leads=True)
                if outcome is not None:
                    return self._hit(outcome, CacheUse.COALESCED, course)
        async with self._leading(wanted, found) as keep:
            outcome = await self._miss(ask, course)
            await keep(outcome)
        return outcome

    @asynccontextmanager
    async def _leading(self, wanted: _Wanted, found: Found) -> AsyncIterator[Callable[[Outcome], Awaitable[None]]]:
        """Keep the other orchestrators waiting; what is kept ends that, and so does leaving the context."""
        is_kept = False

        async def keep(outcome: Outcome) -> None:
            nonlocal is_kept
            is_kept = await self._keep(wanted, found, outcome)

        if not found.leads:
            yield keep
            return
        leading_on = asyncio.create_task(self._lead_on(wanted), name="cache-lead")
        try:
            yield keep
        finally:
            leading_on.cancel()
            if not is_kept:
                with suppress(StoreError):
                    await self._store.end_lead(wanted.digests[0])

    async def _lead_on(self, wanted: _Wanted) -> None:
        with suppress(StoreError):
            while True:
                await asyncio.sleep(_LEAD_ON_S)
                await self._store.lead_on(wanted.digests[0])

    async def _ask_perhaps_keep(self, wanted: _Wanted, found: Found, course: Course, ask: Ask) -> Outcome:
        outcome = await ask()
        if await self._keep(wanted, found, outcome):
            course.cache = CacheUse.MISS
            self._metrics.miss()
        return outcome

    def _hit(self, outcome: Outcome, use: CacheUse, course: Course) -> Outcome:
        course.cache = use
        self._metrics.hit()
        return outcome

    async def _miss(self, ask: Ask, course: Course) -> Outcome:
        course.cache = CacheUse.MISS
        self._metrics.miss()
        return await ask()

    async def _find(self, wanted: _Wanted, course: Course, *, leads: bool) -> tuple[Outcome | None, Found]:
        """Return the answer if it is fresh somewhere, and what the store said; a stale one is noted in `course`."""
        if self._is_bus_up():
            for digest in wanted.digests:
                if (entry := self._l1.trusted(digest)) is not None:
                    return _outcome(entry), _NOT_ASKED
        found = await self._look_up_with_others(wanted, leads=leads)
        if found.entry is not None and found.fresh_s > 0:
            return _outcome(found.entry), found
        if found.generations is not None:
            # Of this process's own, one may have got there since the store looked.
            for digest in wanted.digests:
                if (entry := self._l1.of_generations(digest, found.generations)) is not None:
                    return _outcome(entry), found
        if found.entry is not None and course.stand_in is None:
            course.stand_in = StandIn(wanted.version, _outcome(found.entry))
        return None, found

    async def _look_up_with_others(self, wanted: _Wanted, *, leads: bool) -> Found:
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

    async def _look_up(self, wanted: _Wanted, *, leads: bool) -> Found:
        asked_at = time.monotonic()
        try:
            found = await self._store.look_up(wanted.place, wanted.digests, leads=leads)
        except StoreError:
            return _NOT_ASKED
        if found.entry is not None and found.generations is not None and found.fresh_s > 0:
            self._l1.put(found.digest, found.entry, found.generations, confirmed_at=asked_at, fresh_s=found.fresh_s)
        return found

    async def _keep(self, wanted: _Wanted, found: Found, outcome: Outcome) -> bool:
        """Put an answer where the next one looks; return whether it is there."""
        lasts = lifetime(wanted.rule, outcome.result)
        if lasts is None or found.generations is None:
            return False
        digest = wanted.keys.public if lasts.is_public else wanted.keys.own
        entry, kept_at = Entry(outcome.result, outcome.instance), time.monotonic()
        try:
            is_kept = await self._store.put(
                wanted.place, digest, entry, found.generations, lasts, lead=wanted.digests[0]
            )
        except StoreError:
            return False
        if is_kept:
            self._l1.put(digest, entry, found.generations, confirmed_at=kept_at, fresh_s=lasts.fresh_s)
        return is_kept


def _outcome(entry: Entry) -> Outcome:
    return Outcome(entry.result, entry.instance, upstream_us=0, queue_us=0)


@asynccontextmanager
async def _until(deadline: float) -> AsyncIterator[None]:
    """Raises DeadlineExceededError when the deadline passes: somebody else's call, which may have run, took longer."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError as error:
        raise DeadlineExceededError from error
