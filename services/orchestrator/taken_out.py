"""Servers that an operator has taken out: nobody asks them, but what the cache has of them is still told."""

from itertools import chain
from typing import Final

from services.orchestrator.answers import Answers
from services.orchestrator.catalogue import CatalogueView, LiveVersion
from services.orchestrator.context import Context, Course
from services.orchestrator.dispatch import Outcome
from services.orchestrator.reading import ReadQuery
from services.runtime.errors import MaintenanceError
from services.runtime.maintenance import MaintenanceWords

_ASK_AGAIN_S: Final = 30.0
"""When it is worth asking again while nobody has said how long it takes."""


class TakenOut:
    """Stands in the place of `Attempts` for a server that is out."""

    def __init__(self, words: MaintenanceWords, catalogue: CatalogueView, answers: Answers) -> None:
        self._words = words
        self._catalogue = catalogue
        self._answers = answers

    def holds(self, server: str) -> bool:
        """Whether the server is out now."""
        return self._words.of(server) is not None

    async def ask(self, server: str, read: ReadQuery, context: Context, course: Course) -> tuple[LiveVersion, Outcome]:
        """Return the fresh answer that is kept of a server that is out, as of one that has gone or fails.

        Raises:
            MaintenanceError: there is none; a stale one is noted in `course`.
        """
        course.server = course.server or server
        known = (self._catalogue.live(server), self._catalogue.former(server))
        for version in chain.from_iterable(one.versions.values() for one in known if one is not None):
            if (outcome := await self._answers.recall(version, read, context, course)) is not None:
                return version, outcome
        word = self._words.of(server)
        left_s = None if word is None else self._words.left_s(word)
        raise MaintenanceError(retry_after_s=_ASK_AGAIN_S if left_s is None else left_s)
