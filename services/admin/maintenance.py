"""How a server is taken out and put back: retained in the store, then told to every orchestrator."""

from dataclasses import dataclass

from bus_schemas import subjects
from services.admin.errors import FleetUnavailableError
from services.admin.known_servers import KnownServers
from services.admin.telling import tell
from services.runtime.bus import BusAwayError
from services.runtime.maintenance import MAINTENANCE, MaintenanceWords
from services.runtime.replicas import Acknowledgements, Replicas
from services.runtime.store import Store
from services.runtime.words import retain


@dataclass(frozen=True, slots=True)
class MaintenanceChange:
    """What became of an order."""

    acknowledgements: Acknowledgements
    is_retained: bool
    """Whether the store has it. Where it has not, the processes that live remember it, and tell the store later."""


class MaintenanceControl:
    """Gives an operator's orders."""

    def __init__(
        self, words: MaintenanceWords, replicas: Replicas, store: Store, known: KnownServers, *, instance: str
    ) -> None:
        """Take the table of what holds; `instance` is who we are."""
        self._words = words
        self._replicas = replicas
        self._store = store
        self._known = known
        self._instance = instance

    async def take_out(self, server: str, *, until: float | None, reason: str) -> MaintenanceChange:
        """Keep queries from a server until a moment, in seconds since 1970; None: until it is put back.

        Raises:
            ServerNotFoundError: the server is neither configured nor was it ever announced.
            FleetUnavailableError: the bus is away, and nothing was changed.
        """
        self._known.check(server)
        return await self._order(server, is_out=True, until=until, reason=reason)

    async def put_back(self, server: str) -> MaintenanceChange:
        """Let queries reach a server again; one that is not out stays in. Raises as `take_out`."""
        if self._words.of(server) is None:  # else it may have been taken out of the configuration since
            self._known.check(server)
        return await self._order(server, is_out=False, until=None, reason="")

    async def _order(self, server: str, *, is_out: bool, until: float | None, reason: str) -> MaintenanceChange:
        try:
            await self._replicas.completed()
        except BusAwayError as error:
            raise FleetUnavailableError from error
        word = self._words.next(server, is_out=is_out, until=until, reason=reason, by=self._instance)
        self._words.take(word)
        is_retained = await retain(self._store, MAINTENANCE, [word])
        try:
            acknowledgements = await tell(self._replicas, subjects.maintenance_event(server), word)
        except FleetUnavailableError:  # it went away since: what is done is done, and nobody has heard of it
            acknowledgements = Acknowledgements(by=[], missing=sorted(self._replicas.instances()))
        return MaintenanceChange(acknowledgements, is_retained)
