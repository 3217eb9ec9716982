"""What the shared cache holds, and how it is cleared: in the store first, then in every orchestrator."""

from dataclasses import dataclass

from bus_schemas import subjects
from bus_schemas.cache import CacheFlushed
from services.admin.errors import FleetUnavailableError, StoreUnavailableError
from services.admin.known_servers import KnownServers
from services.runtime.bus import BusAwayError
from services.runtime.config.policy import Policy
from services.runtime.replicas import Acknowledgements, CacheCounts, Replicas
from services.runtime.store import Store, StoreError
from services.runtime.store.cache_book import clear, count
from services.runtime.store.cache_keys import CacheScope


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What was counted."""

    counts: CacheCounts
    entries: dict[str, int]
    """Live ones by server: every configured server, and each that has some."""


@dataclass(frozen=True, slots=True)
class Flush:
    """What became of a flush."""

    cleared: int
    """Live entries that are invalid now."""
    acknowledgements: Acknowledgements


class CacheControl:
    """Counts and clears."""

    def __init__(self, store: Store, replicas: Replicas, known: KnownServers, policy: Policy) -> None:
        self._store = store
        self._replicas = replicas
        self._known = known
        self._policy = policy

    async def statistics(self) -> CacheStatistics:
        """Return what the orchestrators and the store have counted.

        Raises:
            StoreUnavailableError: the entries cannot be counted, and are not said to be none.
        """
        try:
            entries = await count(self._store)
        except StoreError as error:
            raise StoreUnavailableError from error
        return CacheStatistics(self._replicas.cache_counts(), {**dict.fromkeys(self._policy.servers, 0), **entries})

    async def flush(self, scope: CacheScope) -> Flush:
        """Make the entries of `scope` invalid; return when every live orchestrator has acknowledged it, or in 1.5 s.

        Raises:
            ServerNotFoundError: the server is neither configured nor was it ever announced.
            FleetUnavailableError: the bus is away. Nothing was cleared, and nobody told.
            StoreUnavailableError: the store does not answer. Nothing is claimed, and nobody was told.
        """
        if scope.server is not None:
            self._known.check(scope.server)
        try:
            await self._replicas.completed()
        except BusAwayError as error:
            raise FleetUnavailableError from error
        try:
            cleared = await clear(self._store, scope)
        except StoreError as error:
            raise StoreUnavailableError from error
        return Flush(cleared, await self._tell(CacheFlushed(server=scope.server, target=scope.target)))

    async def _tell(self, flushed: CacheFlushed) -> Acknowledgements:
        try:
            return await self._replicas.tell(subjects.CACHE_EVENTS, flushed.encode())
        except BusAwayError:  # it went away since: what is done is done, and nobody has heard of it
            return Acknowledgements(by=[], missing=sorted(self._replicas.instances()))
