"""Which definitions of tools an operator accepts: the words on pins, and which tools are in quarantine by them."""

from collections.abc import Iterable, Mapping
from typing import Final

from bus_schemas import subjects
from bus_schemas.digests import definition_digest
from bus_schemas.pins import AskPins, PinsAcknowledged, PinsChanged, PinsTold
from bus_schemas.workers import Definition
from services.runtime.words import Topic, Words

PINS: Final = Topic(
    name="pins",
    events=subjects.PIN_EVENTS,
    event_of=subjects.pins_event,
    questions=subjects.PINS,
    word=PinsChanged,
    question=AskPins,
    told=PinsTold,
    acknowledged=PinsAcknowledged,
    shown=lambda word: {"tools": None if word.tools is None else len(word.tools)},
)

Accepted = Mapping[str, list[str]]
"""By the name of each tool, the digests of the definitions that it may have."""


class DefinitionPins(Words[PinsChanged]):
    """The newest word on each server."""

    topic = PINS
    revision = 0
    """Grows with each word; what is derived from them compares it."""

    def take(self, word: PinsChanged) -> bool:
        is_news = super().take(word)
        self.revision += is_news
        return is_news

    def of(self, server: str) -> Accepted | None:
        """Return which definitions a server's tools may have; None: any."""
        word = self._words.get(server)
        return None if word is None else word.tools

    def pinned(self) -> Mapping[str, PinsChanged]:
        """Return the word on each server whose definitions are pinned."""
        return {server: word for server, word in self._words.items() if word.tools is not None}

    def next(self, server: str, tools: Accepted | None, *, by: str) -> PinsChanged:
        """Return the word that `by` is to say now, above the one that is known of the server."""
        now = self._wall_clock()
        epoch = self.next_epoch(server, now)
        return PinsChanged(
            server=server, tools=None if tools is None else dict(tools), epoch=epoch, updated_at=now, by=by
        )


def quarantined(accepted: Accepted | None, tools: Iterable[Definition]) -> frozenset[str]:
    """Return the names of the tools whose definitions are not accepted: changed ones, and new ones."""
    if accepted is None:
        return frozenset()
    return frozenset(
        name for tool in tools if definition_digest(tool) not in accepted.get(name := str(tool.get("name")), ())
    )
