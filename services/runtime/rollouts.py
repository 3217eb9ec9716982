"""Which share each version of a server gets: the newest word on each server, told by peers, retained in the store."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from bus_schemas import subjects
from bus_schemas.rollouts import AskRollouts, RolloutAcknowledged, RolloutsTold, RolloutWeights
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox
from services.runtime.lifecycle import Lifecycle
from services.runtime.store import Store, StoreError
from services.runtime.store.retained import RetainedWord, keep, kept

log = logging.getLogger(__name__)

_ASK_S: Final = 0.5
_STALL_S: Final = 0.1
_KIND: Final = "rollouts"


def effective_weights(rollout: Mapping[str, float], live: Collection[str], first: str | None) -> Mapping[str, float]:
    """Return the weights in force among live versions.

    A version gets traffic only through a rollout, or when no other version of the server lives.

    Args:
        rollout: the weights a rollout has set; empty where there was none.
        live: the versions that have a live worker.
        first: the version whose live worker started first.
    """
    weighted = {version: rollout[version] for version in live if rollout.get(version, 0) > 0}
    if weighted:
        return weighted
    return {first: 100.0} if first in live and first is not None else dict.fromkeys(live, 100.0)


class RolloutWords:
    """The newest word on each server."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        """`wall_clock` is in seconds since 1970."""
        self._wall_clock = wall_clock
        self._words: dict[str, RolloutWeights] = {}

    def of(self, server: str) -> RolloutWeights | None:
        """Return the newest word on a server; None: there never was a rollout."""
        return self._words.get(server)

    def weights(self, server: str) -> Mapping[str, float]:
        """Return what rollouts have set, in percent by version; empty where there never was one."""
        word = self._words.get(server)
        return {} if word is None else word.weights

    def is_under_way(self, server: str) -> bool:
        """Whether a rollout of the server goes on."""
        word = self._words.get(server)
        return word is not None and word.under_way

    def next(self, server: str, weights: Mapping[str, float], *, under_way: bool, by: str) -> RolloutWeights:
        """Return the word that `by` is to say now, above the one that is known of the server."""
        now = self._wall_clock()
        known = self._words.get(server)
        # Not a mere count: one who has missed words soon says newer ones than those he missed.
        epoch = max(int(now * 1000), 0 if known is None else known.epoch + 1)
        return RolloutWeights(
            server=server, weights=dict(weights), under_way=under_way, epoch=epoch, updated_at=now, by=by
        )

    def take(self, word: RolloutWeights) -> bool:
        """Enter a word; return whether it is news."""
        known = self._words.get(word.server)
        if known is not None and (known.epoch, known.by) >= (word.epoch, word.by):
            return False
        self._words[word.server] = word
        return True

    def told(self) -> list[RolloutWeights]:
        """Return every word."""
        return list(self._words.values())


async def retain(store: Store, words: Iterable[RolloutWeights]) -> bool:
    """Keep the words in the store, where it has no newer ones; return whether it has taken them."""
    retained = [RetainedWord(word.server, word.epoch, word.by, word.encode()) for word in words]
    try:
        await keep(store, _KIND, retained)
    except StoreError:
        return False
    return True


class _News:
    """Hears which weights are set, and says what is known. Made by `following_rollouts`."""

    def __init__(self, bus: Bus, inbox: Inbox, store: Store, words: RolloutWords, instance: str) -> None:
        self._bus = bus
        self._inbox = inbox
        self._store = store
        self._words = words
        self._instance = instance
        self._acknowledgement = RolloutAcknowledged(instance=instance).encode()
        self.store_is_back = asyncio.Event()

    async def hear(self, message: BusMessage, *, acknowledges: bool) -> None:
        try:
            word = RolloutWeights.model_validate_json(message.data)
        except ValueError:
            log.warning("rollout event is malformed")
            return
        if message.subject != subjects.rollout_event(word.server):
            log.warning("rollout event is on a foreign subject")
            return
        self._take(word)
        if acknowledges and message.reply:
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, self._acknowledgement)

    async def answer(self, message: BusMessage) -> None:
        """Tell what is known."""
        try:
            AskRollouts.model_validate_json(message.data)
        except ValueError:
            log.warning("question about rollouts is malformed")
            return
        if message.reply:
            told = RolloutsTold(instance=self._instance, words=self._words.told())
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, told.encode())

    async def ask(self) -> None:
        """Ask the others what they know; those that do not answer at once are not waited for."""
        try:
            replies = await self._inbox.gather(
                subjects.ROLLOUTS, AskRollouts().encode(), total_s=_ASK_S, stall_s=_STALL_S
            )
        except BusAwayError:
            return
        for reply in replies:
            try:
                told = RolloutsTold.model_validate_json(reply.data)
            except ValueError:
                log.warning("answer about rollouts is malformed")
                continue
            for word in told.words:
                self._take(word)

    async def read_store(self) -> None:
        """Learn what the store has retained; it is none the worse for being away."""
        try:
            words = await kept(self._store, _KIND)
        except StoreError:
            return
        for data in words:
            try:
                self._take(RolloutWeights.model_validate_json(data))
            except ValueError:
                log.warning("retained word on a rollout is malformed")

    async def follow_store(self) -> None:
        """Compare with the store, for ever, when it is back: it may know more than we, or have lost what we know."""
        while True:
            await self.store_is_back.wait()
            self.store_is_back.clear()
            await self.read_store()
            await retain(self._store, self._words.told())

    def _take(self, word: RolloutWeights) -> None:
        if self._words.take(word):
            log.info("weights changed", extra={"server": word.server, "weights": word.weights, "by": word.by})


@asynccontextmanager
async def following_rollouts(
    bus: Bus,
    inbox: Inbox,
    store: Store,
    life: Lifecycle,
    words: RolloutWords,
    *,
    instance: str,
    acknowledges: bool = False,
) -> AsyncIterator[None]:
    """Enter into `words` which weights are set from now on, and which were before, as far as peers or the store know.

    Either may be gone; without both, none were set before. Whoever asks is told what is known here.

    Args:
        bus: where it is said.
        inbox: gets the answers of those who are asked.
        store: where the words are retained; it is asked again, and told what it lacks, whenever it comes back.
        life: runs what follows the store.
        words: the table.
        instance: who answers and acknowledges.
        acknowledges: whether the admin service waits for us.
    """
    news = _News(bus, inbox, store, words, instance)

    async def hear(message: BusMessage) -> None:
        await news.hear(message, acknowledges=acknowledges)

    event_subscription = await bus.subscribe(subjects.ROLLOUT_EVENTS, hear)
    bus.repeat_after_reconnects(news.ask, name="rollouts-asking")
    store.on_return(news.store_is_back.set)
    await news.read_store()
    await news.ask()
    question_subscription = await bus.subscribe(subjects.ROLLOUTS, news.answer)
    life.start(news.follow_store(), name="rollouts-store")
    try:
        yield
    finally:
        await question_subscription.drain()
        await event_subscription.drain()
