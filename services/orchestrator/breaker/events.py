"""What becomes of breakers, on the bus: told when it changes here, obeyed when others or the operator say it."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bus_schemas import subjects
from bus_schemas.breakers import AskBreakers, BreakerChanged, BreakersTold
from services.orchestrator.breaker.board import Board
from services.runtime.breakers import BreakerWords, following_breakers
from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox
from services.runtime.lifecycle import Lifecycle

log = logging.getLogger(__name__)


class BreakerEvents:
    """Says what changes, and what is known to whoever asks. Made by `sharing_breakers`."""

    def __init__(self, bus: Bus, board: Board, instance: str) -> None:
        self._bus = bus
        self._board = board
        self._instance = instance

    async def tell_changes(self) -> None:
        """Say each change, for ever; while the bus is away nobody can be told."""
        while True:
            await self._tell(await self._board.changes.get())

    def repeat(self) -> None:
        """Say again what counts and was said by us: others may have missed it while the bus was away."""
        for word in self._board.own_words():
            self._board.changes.put_nowait(word)

    async def answer(self, message: BusMessage) -> None:
        """Tell what is known."""
        try:
            AskBreakers.model_validate_json(message.data)
        except ValueError:
            log.warning("question about breakers is malformed")
            return
        if message.reply:
            told = BreakersTold(instance=self._instance, breakers=self._board.told())
            with suppress(BusAwayError):
                await self._bus.publish(message.reply, told.encode())

    async def _tell(self, word: BreakerChanged) -> None:
        try:
            await self._bus.publish(subjects.breaker_event(word.server), word.encode())
        except BusAwayError:
            log.debug("event not sent, the bus is away")


@asynccontextmanager
async def sharing_breakers(
    bus: Bus, inbox: Inbox, life: Lifecycle, board: Board, words: BreakerWords, *, instance: str
) -> AsyncIterator[None]:
    """Share the breakers of `board` with the other orchestrators; enter before the first query is taken.

    What they know is known when this returns, as far as they answer within half a second.
    """
    events = BreakerEvents(bus, board, instance)
    subscription = await bus.subscribe(subjects.BREAKERS, events.answer)
    bus.on_reconnect(events.repeat)
    try:
        async with following_breakers(bus, inbox, words, heard=board.heard, instance=instance):
            life.start(events.tell_changes(), name="breakers-telling")
            yield
    finally:
        await subscription.drain()
