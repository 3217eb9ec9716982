"""What the orchestrators and the operator say of breakers: of each the newest word, and until when it holds."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from bus_schemas import subjects
from bus_schemas.breakers import (
    ADMIN,
    AskBreakers,
    BreakerAcknowledged,
    BreakerChanged,
    BreakerState,
    BreakersTold,
)
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox

log = logging.getLogger(__name__)

_ASK_S: Final = 0.5
_STALL_S: Final = 0.1


@dataclass(slots=True)
class Standing:
    """A word, and the moment from which on it does not hold calls back any more."""

    word: BreakerChanged
    until: float
    """Seconds of the monotonic clock."""


class BreakerWords:
    """The newest word on each breaker. What was said holds for its time only, so that a lost word heals itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time):
        """Take the clocks: `clock` for how long words hold, `wall_clock` (seconds since 1970) for their order."""
        self._clock = clock
        self._wall_clock = wall_clock
        self._standings: dict[tuple[str, str | None], Standing] = {}

    def of(self, server: str, version: str) -> Standing | None:
        """Return the word that counts for a breaker; None: it is closed. The time of one that opened it may be over."""
        whole = self._standings.get((server, None))
        own = self._standings.get((server, version))
        if whole is not None:
            if whole.word.state is BreakerState.ISOLATED and self._clock() < whole.until:
                return whole
            if own is not None and _rank(own.word) <= _rank(whole.word):
                return None
        return None if own is None or own.word.state is BreakerState.CLOSED else own

    def next(
        self, server: str, version: str, state: BreakerState, *, for_s: float, by: str, reason: str
    ) -> BreakerChanged:
        """Return the word that `by` is to say now, above all that are known of the server's breakers."""
        before = self.of(server, version)
        opened_at = self._wall_clock() if before is None else before.word.opened_at
        return BreakerChanged(
            server=server,
            version=version,
            state=state,
            epoch=self._next_epoch(server),
            opened_at=None if state is BreakerState.CLOSED else opened_at,
            open_ms=round(for_s * 1000),
            by=by,
            reason=reason,
        )

    def take(self, word: BreakerChanged) -> bool:
        """Enter a word that is said now; return whether it is news."""
        if word.by == ADMIN:
            # Said by hand, with a clock that may be behind: it holds whatever was said before.
            word = word.model_copy(update={"epoch": max(word.epoch, self._next_epoch(word.server)), "version": None})
        return self._enter(word)

    def remember(self, word: BreakerChanged) -> bool:
        """Enter a word that somebody else remembers; return whether it is news: that a closed one is closed is not."""
        return self._enter(word)

    def told(self) -> list[BreakerChanged]:
        """Return every word with the time that is left of it."""
        now = self._clock()
        return [
            standing.word.model_copy(update={"open_ms": max(0, round((standing.until - now) * 1000))})
            for standing in self._standings.values()
        ]

    def end_wait(self, server: str, version: str) -> None:
        """Let whoever is to probe do so now."""
        standing = self._standings.get((server, version))
        if standing is not None:
            standing.until = min(standing.until, self._clock())

    def permit_probe(self, server: str, version: str) -> None:
        """A worker of the version begins to serve: an open breaker need not wait. A probe on its way is let finish."""
        standing = self.of(server, version)
        if standing is not None and standing.word.state is BreakerState.OPEN:
            self.end_wait(server, version)

    def _next_epoch(self, server: str) -> int:
        """Not a mere count: one who has missed words soon says newer ones than those he missed."""
        known = [one.word.epoch for (name, _), one in self._standings.items() if name == server]
        return max(int(self._wall_clock() * 1000), max(known, default=0) + 1)

    def _enter(self, word: BreakerChanged) -> bool:
        if word.version is None and word.by != ADMIN:
            return False
        known = (self._standings.get((word.server, version)) for version in {None, word.version})
        if any(one is not None and _rank(one.word) >= _rank(word) for one in known):
            return False
        changes_nothing = (
            word.version is not None
            and word.state is BreakerState.CLOSED
            and self.of(word.server, word.version) is None
        )
        self._standings[word.server, word.version] = Standing(word, self._clock() + word.open_ms / 1000)
        return not changes_nothing


def _rank(word: BreakerChanged) -> tuple[int, str]:
    return word.epoch, word.by


class _News:
    """Hears what is said of breakers. Made by `following_breakers`."""

    def __init__(self, bus: Bus, inbox: Inbox, words: BreakerWords, heard: Callable[[BreakerChanged], None]) -> None:
        self._bus = bus
        self._inbox = inbox
        self._words = words
        self._heard = heard

    async def hear(self, message: BusMessage, *, acknowledgement: bytes | None) -> None:
        try:
            word = BreakerChanged.model_validate_json(message.data)
        except ValueError:
            log.warning("breaker event is malformed")
            return
        if message.subject != subjects.breaker_event(word.server):
            log.warning("breaker event is on a foreign subject")
            return
        if self._words.take(word):
            self._heard(word)
        if acknowledgement is not None and message.reply and word.by == ADMIN:
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, acknowledgement)

    async def ask(self) -> None:
        """Ask the orchestrators what they know, and remember it."""
        with suppress(BusAwayError):
            for word in await ask_breakers(self._inbox):
                if self._words.remember(word):
                    self._heard(word)


async def ask_breakers(inbox: Inbox) -> list[BreakerChanged]:
    """Return what the orchestrators know; those that do not answer at once are not waited for.

    Raises:
        BusAwayError: nobody can be asked.
    """
    words: list[BreakerChanged] = []
    for reply in await inbox.gather(subjects.BREAKERS, AskBreakers().encode(), total_s=_ASK_S, stall_s=_STALL_S):
        try:
            words += BreakersTold.model_validate_json(reply.data).breakers
        except ValueError:
            log.warning("answer about breakers is malformed")
    return words


@asynccontextmanager
async def following_breakers(
    bus: Bus,
    inbox: Inbox,
    words: BreakerWords,
    *,
    heard: Callable[[BreakerChanged], None] = lambda _: None,
    instance: str | None = None,
) -> AsyncIterator[None]:
    """Enter into `words` what is said from now on, and what was said before, as far as orchestrators know it.

    Args:
        bus: where it is said.
        inbox: gets the answers of those who are asked.
        words: the table.
        heard: is called with each word that was news, after it was entered.
        instance: who acknowledges an operator's words; None: nobody does.
    """
    news = _News(bus, inbox, words, heard)
    acknowledgement = None if instance is None else BreakerAcknowledged(instance=instance).encode()

    async def hear(message: BusMessage) -> None:
        await news.hear(message, acknowledgement=acknowledgement)

    subscription = await bus.subscribe(subjects.BREAKER_EVENTS, hear)
    bus.repeat_after_reconnects(news.ask, name="breakers-asking")
    await news.ask()
    try:
        yield
    finally:
        await subscription.drain()
