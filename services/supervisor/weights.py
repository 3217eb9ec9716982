"""What the supervisor knows of the servers' weights, and the word by which it keeps a version in force."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from bus_schemas import subjects
from bus_schemas.rollouts import AskRollouts, RolloutsTold, RolloutWeights
from services.runtime.bus import Bus, BusAwayError, Inbox
from services.runtime.rollouts import RolloutWords

_ASK_S: Final = 1.0
_STALL_S: Final = 0.2


class Weights:
    """The newest word on each server, for as long as the supervisor lives."""

    def __init__(self, *, instance: str) -> None:
        """Take who says what is said here."""
        self._instance = instance
        self._words = RolloutWords()
        self._line: tuple[Bus, Inbox] | None = None

    @contextmanager
    def spoken_on(self, bus: Bus, inbox: Inbox) -> Iterator[None]:
        """Ask and speak on `bus` while the context is open."""
        self._line = bus, inbox
        try:
            yield
        finally:
            self._line = None

    def take(self, word: RolloutWeights) -> bool:
        """Enter a word; return whether it is news."""
        return self._words.take(word)

    def is_under_way(self, server: str, version: str | None = None) -> bool:
        """Whether a rollout of the server goes on; with a `version`: one from it or to it."""
        word = self._words.of(server)
        return word is not None and word.under_way and (version is None or version in word.weights)

    async def ask(self) -> list[RolloutWeights]:
        """Return what orchestrators and admin services know: the rollouts, too, that ended while nobody was heard."""
        told: list[RolloutWeights] = []
        if self._line is None:
            return told
        _, inbox = self._line
        with suppress(BusAwayError):
            for reply in await inbox.gather(
                subjects.ROLLOUTS, AskRollouts().encode(), total_s=_ASK_S, stall_s=_STALL_S
            ):
                with suppress(ValueError):
                    told += RolloutsTold.model_validate_json(reply.data).words
        return told

    async def pin(self, server: str, version: str) -> int:
        """Give a version all queries of its server, whoever else comes or has started first; return the word's epoch.

        Raises:
            BusAwayError: it is not certain that anybody was told.
        """
        if self._line is None:
            raise BusAwayError
        bus, _ = self._line
        word = self._words.next(server, {version: 100}, under_way=False, by=self._instance)
        self._words.take(word)
        await bus.publish(subjects.rollout_event(server), word.encode())
        await bus.fence()
        return word.epoch
