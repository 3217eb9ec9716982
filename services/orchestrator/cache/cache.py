"""An answer that is kept, or that somebody is asking for already, or else the server's: in this order."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from bus_schemas.queries import CacheMode, CacheUse
from services.orchestrator.cache.entry import Generations
from services.orchestrator.cache.keys import CacheKeys
from services.orchestrator.cache.metrics import CacheMetrics
from services.orchestrator.cache.rules import is_complete, rule_for
from services.orchestrator.cache.shelf import Seen, Shelf, Wanted
from services.orchestrator.cache.single_flight import AbandonedError, Flight, SingleFlight
from services.orchestrator.cache.store import Place
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.context import Course, StandIn
from services.orchestrator.dispatch import Outcome
from services.orchestrator.reading import ReadQuery
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import Policy
from services.runtime.errors import DeadlineExceededError, OverloadedError, QueryError
from services.runtime.store import StoreError

_LEAD_ON_S: Final = 0.7
_FIRST_POLL_S: Final = 0.01
_LONGEST_POLL_S: Final = 0.1

Ask = Callable[[], Awaitable[Outcome]]


class Question(msgspec.Struct, frozen=True, eq=False):
    """What is asked, of which version, by whom."""

    read: ReadQuery
    version: LiveVersion
    principal: Principal
    forwarded: Mapping[str, str]


class AnswerCache:
    """Gives answers again as long as that is right, and asks each question once at a time."""

    def __init__(self, policy: Policy, shelf: Shelf, metrics: CacheMetrics) -> None:
        self._policy = policy
        self._shelf = shelf
        self._metrics = metrics
        self._flights: SingleFlight[tuple[str, Generations | None], Outcome | None] = SingleFlight()

    def distrust(self) -> None:
        """Something was flushed: give nothing from before, and join nobody who asks already."""
        self._shelf.distrust()
        self._flights = SingleFlight()

    async def answer(self, question: Question, course: Course, ask: Ask) -> Outcome:
        """Return the answer, and note in `course` where it came from.

        Raises:
            DeadlineExceededError: it did not come in time from whoever was asking already.
            QueryError: as `ask` does.
        """
        wanted = self.wanted(question)
        if wanted is None:
            course.cache = CacheUse.OFF
            return await ask()
        match question.read.query.cache:
            case CacheMode.BYPASS:
                course.cache = CacheUse.BYPASS
                return await ask()
            case CacheMode.REFRESH:
                course.cache = CacheUse.REFRESH
                generations = await self._shelf.generations(wanted)
                outcome = await ask()
                await self._shelf.keep(wanted, generations, outcome)
                return outcome
            case CacheMode.DEFAULT:
                return await self._find_or_ask(wanted, question.version, course, ask)

    async def recall(self, question: Question, course: Course) -> Outcome | None:
        """Return the fresh answer of a server that cannot be asked now; a stale one is noted in `course`."""
        wanted = self.wanted(question)
        if wanted is None or question.read.query.cache is not CacheMode.DEFAULT:
            return None
        seen = await self._find(wanted, question.version, course, leads=False)
        return seen.fresh and self._hit(seen.fresh, CacheUse.HIT, course)

    def in_memory(self, wanted: Wanted) -> Outcome | None:
        """Return the answer if the store need not be asked for it, and count it."""
        outcome = self._shelf.in_memory(wanted)
        if outcome is not None:
            self._metrics.hit()
        return outcome

    def wanted(self, question: Question) -> Wanted | None:
        """Return where the answer to a question is kept; None: it never is."""
        query, version = question.read.query, question.version
        rule = rule_for(query, self._policy.of(version.server), version)
        if rule is None:
            return None
        try:
            keys = CacheKeys(question.read, version, question.principal, question.forwarded)
        except ValueError:
            return None
        return Wanted(rule, Place(version.server, query.target), keys)

    async def _find(self, wanted: Wanted, version: LiveVersion, course: Course, *, leads: bool) -> Seen:
        seen = await self._shelf.find(wanted, leads=leads)
        if seen.stale is not None and course.stand_in is None:
            course.stand_in = StandIn(version, seen.stale)
        return seen

    async def _find_or_ask(self, wanted: Wanted, version: LiveVersion, course: Course, ask: Ask) -> Outcome:
        while True:
            seen = await self._find(wanted, version, course, leads=wanted.rule.is_certain)
            if seen.fresh is not None:
                return self._hit(seen.fresh, CacheUse.HIT, course)
            if not wanted.rule.is_certain:
                return await self._ask_and_perhaps_keep(wanted, seen, course, ask)
            key = wanted.digests[0], seen.generations
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(self._flights.open(key), wanted, seen, course, ask)
            try:
                async with _until(course.deadline):
                    outcome = await flight.answer()
            except AbandonedError:
                continue
            if outcome is None:
                return await self._miss(ask, course)
            return self._hit(outcome, CacheUse.COALESCED, course)

    async def _lead(
        self, flight: Flight[Outcome | None], wanted: Wanted, seen: Seen, course: Course, ask: Ask
    ) -> Outcome:
        """Get the answer for all of this process who want the same."""
        with flight:
            lost_before = list(course.losses)
            try:
                outcome = await self._wait_or_ask(wanted, seen, course, ask)
            except QueryError as error:
                # Who has too little time, or lost a call elsewhere before, speaks for nobody else.
                is_its_own = isinstance(error, OverloadedError) or error in lost_before
                if time.monotonic() < course.deadline and not is_its_own:
                    flight.fail(error)
                raise
            flight.land(outcome if is_complete(outcome.result) else None)
        return outcome

    async def _wait_or_ask(self, wanted: Wanted, seen: Seen, course: Course, ask: Ask) -> Outcome:
        """Wait while another orchestrator asks; ask where none does, or when it has come back without an answer."""
        wait_s = _FIRST_POLL_S
        async with _until(course.deadline):
            while seen.is_led_elsewhere:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_POLL_S)
                seen = await self._shelf.find(wanted, leads=True)
                if seen.fresh is not None:
                    return self._hit(seen.fresh, CacheUse.COALESCED, course)
        return await self._ask_and_keep(wanted, seen, course, ask)

    async def _ask_and_keep(self, wanted: Wanted, seen: Seen, course: Course, ask: Ask) -> Outcome:
        """Ask, and keep the other orchestrators waiting meanwhile; what is kept ends that too."""
        leading_on = asyncio.create_task(self._lead_on(wanted), name="cache-lead") if seen.leads else None
        is_kept = False
        try:
            outcome = await self._miss(ask, course)
            is_kept = await self._shelf.keep(wanted, seen.generations, outcome)
        finally:
            if leading_on is not None:
                leading_on.cancel()
                if not is_kept:
                    with suppress(StoreError):
                        await self._shelf.end_lead(wanted)
        return outcome

    async def _lead_on(self, wanted: Wanted) -> None:
        with suppress(StoreError):
            while True:
                await asyncio.sleep(_LEAD_ON_S)
                await self._shelf.lead_on(wanted)

    async def _ask_and_perhaps_keep(self, wanted: Wanted, seen: Seen, course: Course, ask: Ask) -> Outcome:
        outcome = await ask()
        if await self._shelf.keep(wanted, seen.generations, outcome):
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


@asynccontextmanager
async def _until(deadline: float) -> AsyncIterator[None]:
    """Raises DeadlineExceededError when the deadline passes: somebody else's call, which may have run, took longer."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError as error:
        raise DeadlineExceededError from error
