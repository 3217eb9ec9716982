"""Which servers an operator has taken out: of each the newest word, told by peers and retained in the store."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

from bus_schemas import subjects
from bus_schemas.maintenance import AskMaintenance, MaintenanceAcknowledged, MaintenanceChanged, MaintenanceTold
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox
from services.runtime.lifecycle import Lifecycle
from services.runtime.store import Store, StoreError
from services.runtime.store.retained import RetainedWord, keep, kept

log = logging.getLogger(__name__)

_ASK_S: Final = 0.5
_STALL_S: Final = 0.1
_KIND: Final = "maintenance"


class MaintenanceWords:
    """The newest word on each server. One that is over by its own time is as if it said so."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        """`wall_clock` is in seconds since 1970."""
        self._wall_clock = wall_clock
        self._words: dict[str, MaintenanceChanged] = {}

    def of(self, server: str) -> MaintenanceChanged | None:
        """Return the word that keeps a server out now; None: it is not out."""
        word = self._words.get(server)
        if word is None or not word.is_out or (word.until is not None and word.until <= self._wall_clock()):
            return None
        return word

    def left_s(self, word: MaintenanceChanged) -> float | None:
        """Return for how long it keeps its server out yet, in seconds; None: until an operator says otherwise."""
        return None if word.until is None else max(0.0, word.until - self._wall_clock())

    def out(self) -> frozenset[str]:
        """Return every server that is out now."""
        return frozenset(server for server in self._words if self.of(server) is not None)

    def next(self, server: str, *, is_out: bool, until: float | None, reason: str, by: str) -> MaintenanceChanged:
        """Return the word that `by` is to say now, above the one that is known of the server."""
        now = self._wall_clock()
        known = self._words.get(server)
        # Not a mere count: one who has missed words soon says newer ones than those he missed.
        epoch = max(int(now * 1000), 0 if known is None else known.epoch + 1)
        return MaintenanceChanged(
            server=server, is_out=is_out, until=until, reason=reason, epoch=epoch, updated_at=now, by=by
        )

    def take(self, word: MaintenanceChanged) -> bool:
        """Enter a word; return whether it is news."""
        known = self._words.get(word.server)
        if known is not None and (known.epoch, known.by) >= (word.epoch, word.by):
            return False
        self._words[word.server] = word
        return True

    def told(self) -> list[MaintenanceChanged]:
        """Return every word, also those that are over: who knows an older one is to know that it is."""
        return list(self._words.values())


async def retain(store: Store, words: Iterable[MaintenanceChanged]) -> bool:
    """Keep the words in the store, where it has no newer ones; return whether it has taken them."""
    retained = [RetainedWord(word.server, word.epoch, word.by, word.encode()) for word in words]
    try:
        await keep(store, _KIND, retained)
    except StoreError:
        return False
    return True


class _News:
    """Hears what is said of maintenance, and says what is known. Made by `following_maintenance`."""

    def __init__(self, bus: Bus, inbox: Inbox, store: Store, words: MaintenanceWords, instance: str) -> None:
        self._bus = bus
        self._inbox = inbox
        self._store = store
        self._words = words
        self._instance = instance
        self._acknowledgement = MaintenanceAcknowledged(instance=instance).encode()
        self.store_is_back = asyncio.Event()

    async def hear(self, message: BusMessage, *, acknowledges: bool) -> None:
        try:
            word = MaintenanceChanged.model_validate_json(message.data)
        except ValueError:
            log.warning("maintenance event is malformed")
            return
        if message.subject != subjects.maintenance_event(word.server):
            log.warning("maintenance event is on a foreign subject")
            return
        self._take(word)
        if acknowledges and message.reply:
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, self._acknowledgement)

    async def answer(self, message: BusMessage) -> None:
        """Tell what is known."""
        try:
            AskMaintenance.model_validate_json(message.data)
        except ValueError:
            log.warning("question about maintenance is malformed")
            return
        if message.reply:
            told = MaintenanceTold(instance=self._instance, words=self._words.told())
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, told.encode())

    async def ask(self) -> None:
        """Ask the others what they know; those that do not answer at once are not waited for."""
        try:
            replies = await self._inbox.gather(
                subjects.MAINTENANCE, AskMaintenance().encode(), total_s=_ASK_S, stall_s=_STALL_S
            )
        except BusAwayError:
            return
        for reply in replies:
            try:
                told = MaintenanceTold.model_validate_json(reply.data)
            except ValueError:
                log.warning("answer about maintenance is malformed")
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
                self._take(MaintenanceChanged.model_validate_json(data))
            except ValueError:
                log.warning("retained word on maintenance is malformed")

    async def follow_store(self) -> None:
        """Compare with the store, for ever, when it is back: it may know more than we, or have lost what we know."""
        while True:
            await self.store_is_back.wait()
            self.store_is_back.clear()
            await self.read_store()
            await retain(self._store, self._words.told())

    def _take(self, word: MaintenanceChanged) -> None:
        if self._words.take(word):
            log.info("maintenance changed", extra={"server": word.server, "is_out": word.is_out, "by": word.by})


@asynccontextmanager
async def following_maintenance(
    bus: Bus,
    inbox: Inbox,
    store: Store,
    life: Lifecycle,
    words: MaintenanceWords,
    *,
    instance: str,
    acknowledges: bool = False,
) -> AsyncIterator[None]:
    """Enter into `words` what is said from now on, and what was said before, as far as peers or the store know it.

    Either may be gone; without both, nothing was said before. Whoever asks is told what is known here.

    Args:
        bus: where it is said.
        inbox: gets the answers of those who are asked.
        store: where the words are retained; it is asked again, and told what it lacks, whenever it comes back.
        life: runs what follows the store.
        words: the table.
        instance: who answers and acknowledges.
        acknowledges: whether an operator waits for us.
    """
    news = _News(bus, inbox, store, words, instance)

    async def hear(message: BusMessage) -> None:
        await news.hear(message, acknowledges=acknowledges)

    event_subscription = await bus.subscribe(subjects.MAINTENANCE_EVENTS, hear)
    bus.repeat_after_reconnects(news.ask, name="maintenance-asking")
    store.on_return(news.store_is_back.set)
    await news.read_store()
    await news.ask()
    question_subscription = await bus.subscribe(subjects.MAINTENANCE, news.answer)
    life.start(news.follow_store(), name="maintenance-store")
    try:
        yield
    finally:
        await question_subscription.drain()
        await event_subscription.drain()
