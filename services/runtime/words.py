"""What somebody has said of each server: the newest word holds, told by peers and retained in the store."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from bus_schemas.control import Acknowledged
from bus_schemas.envelope import Message
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox
from services.runtime.lifecycle import Lifecycle
from services.runtime.store import Store, StoreError
from services.runtime.store.retained import RetainedWord, keep, kept

log = logging.getLogger(__name__)

_ASK_S: Final = 0.5
_STALL_S: Final = 0.1


class Word(Protocol):
    """A message of which the newest on a server holds: by epoch, then by who has said it."""

    @property
    def server(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    @property
    def by(self) -> str: ...

    def encode(self) -> bytes: ...

    @classmethod
    def model_validate_json(cls, json_data: bytes, /) -> Any: ...


WordT = TypeVar("WordT", bound=Word)


@dataclass(frozen=True, slots=True)
class Topic(Generic[WordT]):
    """What words are about, and the messages in which they are told."""

    name: str
    """In log lines, in the names of tasks, and in the store."""
    events: str
    """The subjects on which words are said."""
    event_of: Callable[[str], str]
    """The one of them that is a server's."""
    questions: str
    """The subject on which each process is asked for all that it knows."""
    word: type[WordT]
    question: type[Message]
    told: type[Any]
    """The answer: a Message of an `instance` and its `words`."""
    acknowledged: type[Acknowledged]
    shown: Callable[[WordT], Mapping[str, object]]
    """What of a word is logged, beside its server and who has said it."""


class Words(Generic[WordT]):
    """The newest word on each server."""

    topic: Topic[WordT]

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        """`wall_clock` is in seconds since 1970."""
        self._wall_clock = wall_clock
        self._words: dict[str, WordT] = {}

    def next_epoch(self, server: str, now: float) -> int:
        """Return the epoch of what is to be said `now`, above the word that is known of the server."""
        known = self._words.get(server)
        # Not a mere count: one who has missed words soon says newer ones than those he missed.
        return max(int(now * 1000), 0 if known is None else known.epoch + 1)

    def take(self, word: WordT) -> bool:
        """Enter a word; return whether it is news."""
        known = self._words.get(word.server)
        if known is not None and (known.epoch, known.by) >= (word.epoch, word.by):
            return False
        self._words[word.server] = word
        return True

    def told(self) -> list[WordT]:
        """Return every word, also those that are over: who knows an older one is to know that it is."""
        return list(self._words.values())


async def retain(store: Store, topic: Topic[WordT], words: Iterable[WordT]) -> bool:
    """Keep the words in the store, where it has no newer ones; return whether it has taken them."""
    retained = [RetainedWord(word.server, word.epoch, word.by, word.encode()) for word in words]
    try:
        await keep(store, topic.name, retained)
    except StoreError:
        return False
    return True


class _News(Generic[WordT]):
    """Hears what is said, and says what is known. Made by `following`."""

    def __init__(self, bus: Bus, inbox: Inbox, store: Store, words: Words[WordT], instance: str) -> None:
        self._bus = bus
        self._inbox = inbox
        self._store = store
        self._topic = words.topic
        self._words = words
        self._instance = instance
        self._acknowledgement = words.topic.acknowledged(instance=instance).encode()
        self.store_is_back = asyncio.Event()

    async def hear(self, message: BusMessage, *, acknowledges: bool) -> None:
        try:
            word: WordT = self._topic.word.model_validate_json(message.data)
        except ValueError:
            log.warning("%s event is malformed", self._topic.name)
            return
        if message.subject != self._topic.event_of(word.server):
            log.warning("%s event is on a foreign subject", self._topic.name)
            return
        self._take(word)
        if acknowledges and message.reply:
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, self._acknowledgement)

    async def answer(self, message: BusMessage) -> None:
        """Tell what is known."""
        try:
            self._topic.question.model_validate_json(message.data)
        except ValueError:
            log.warning("question about %s is malformed", self._topic.name)
            return
        if message.reply:
            told = self._topic.told(instance=self._instance, words=self._words.told())
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, told.encode())

    async def ask(self) -> None:
        """Ask the others what they know; those that do not answer at once are not waited for."""
        try:
            replies = await self._inbox.gather(
                self._topic.questions, self._topic.question().encode(), total_s=_ASK_S, stall_s=_STALL_S
            )
        except BusAwayError:
            return
        for reply in replies:
            try:
                told = self._topic.told.model_validate_json(reply.data)
            except ValueError:
                log.warning("answer about %s is malformed", self._topic.name)
                continue
            for word in told.words:
                self._take(word)

    async def read_store(self) -> None:
        """Learn what the store has retained; it is none the worse for being away."""
        try:
            words = await kept(self._store, self._topic.name)
        except StoreError:
            return
        for data in words:
            try:
                self._take(self._topic.word.model_validate_json(data))
            except ValueError:
                log.warning("retained word on %s is malformed", self._topic.name)

    async def follow_store(self) -> None:
        """Compare with the store, for ever, when it is back: it may know more than we, or have lost what we know."""
        while True:
            await self.store_is_back.wait()
            self.store_is_back.clear()
            await self.read_store()
            await retain(self._store, self._topic, self._words.told())

    def _take(self, word: WordT) -> None:
        if self._words.take(word):
            shown = {"server": word.server, "by": word.by, **self._topic.shown(word)}
            log.info("%s changed", self._topic.name, extra=shown)


@asynccontextmanager
async def following(
    bus: Bus,
    inbox: Inbox,
    store: Store,
    life: Lifecycle,
    words: Words[WordT],
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
        acknowledges: whether whoever says a word waits for us.
    """
    topic = words.topic
    news = _News(bus, inbox, store, words, instance)

    async def hear(message: BusMessage) -> None:
        await news.hear(message, acknowledges=acknowledges)

    event_subscription = await bus.subscribe(topic.events, hear)
    bus.repeat_after_reconnects(news.ask, name=f"{topic.name}-asking")
    store.on_return(news.store_is_back.set)
    await news.read_store()
    await news.ask()
    question_subscription = await bus.subscribe(topic.questions, news.answer)
    life.start(news.follow_store(), name=f"{topic.name}-store")
    try:
        yield
    finally:
        await question_subscription.drain()
        await event_subscription.drain()
