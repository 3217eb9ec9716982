"""Which servers an operator has taken out: the words on maintenance."""

from typing import Final

from bus_schemas import subjects
from bus_schemas.maintenance import AskMaintenance, MaintenanceAcknowledged, MaintenanceChanged, MaintenanceTold
from services.runtime.words import Topic, Words

MAINTENANCE: Final = Topic(
    name="maintenance",
    events=subjects.MAINTENANCE_EVENTS,
    event_of=subjects.maintenance_event,
    questions=subjects.MAINTENANCE,
    word=MaintenanceChanged,
    question=AskMaintenance,
    told=MaintenanceTold,
    acknowledged=MaintenanceAcknowledged,
    shown=lambda word: {"is_out": word.is_out},
)


class MaintenanceWords(Words[MaintenanceChanged]):
    """The newest word on each server. One that is over by its own time is as if it said so."""

    topic = MAINTENANCE

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
        epoch = self.next_epoch(server, now)
        return MaintenanceChanged(
            server=server, is_out=is_out, until=until, reason=reason, epoch=epoch, updated_at=now, by=by
        )
