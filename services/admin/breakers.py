"""The breakers of all live versions, as the orchestrators know them; and how all of them are isolated or reset."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bus_schemas import subjects
from bus_schemas.breakers import ADMIN, BreakerChanged, BreakerState
from services.admin.errors import FleetUnavailableError
from services.admin.known_servers import KnownServers
from services.admin.telling import tell
from services.runtime.breakers import BreakerWords, Standing, ask_breakers
from services.runtime.bus import BusAwayError, Inbox
from services.runtime.fleet import Fleet
from services.runtime.replicas import Acknowledgements, Replicas


@dataclass(frozen=True, slots=True)
class Breaker:
    """One breaker, in whichever orchestrator it changed last."""

    server: str
    version: str
    state: BreakerState
    opened_at: float | None = None
    """Since when calls are refused, seconds since 1970; None: they are not."""
    until: float | None = None
    """When it closes or is probed, seconds since 1970; None: it is closed."""
    by: str | None = None
    """The orchestrator that opened it, or `admin`; None: it is closed."""
    reason: str = ""


class BreakerControl:
    """Shows breakers, and gives an operator's orders."""

    def __init__(
        self,
        words: BreakerWords,
        inbox: Inbox,
        replicas: Replicas,
        fleet: Fleet,
        known: KnownServers,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what is known of breakers; `clock` is in seconds, and the one that `words` has."""
        self._words = words
        self._inbox = inbox
        self._replicas = replicas
        self._fleet = fleet
        self._known = known
        self._clock = clock

    def breakers(self) -> list[Breaker]:
        """Return every live version's, and those of others as long as they refuse calls; by server and version."""
        live = {(worker.report.server, worker.report.version) for worker in self._fleet.workers()}
        refusing = {
            (word.server, word.version)
            for word in self._words.told()
            if word.version is not None and self._is_refusing(word.server, word.version)
        }
        return [self._breaker(*key) for key in sorted(live | refusing)]

    async def ask(self) -> list[Breaker]:
        """Ask every orchestrator what it knows, and return what the newest words say.

        Raises:
            FleetUnavailableError: the bus is away.
        """
        try:
            words = await ask_breakers(self._inbox)
        except BusAwayError as error:
            raise FleetUnavailableError from error
        for word in words:
            self._words.remember(word)
        return self.breakers()

    async def isolate(self, server: str, *, for_s: float, reason: str) -> Acknowledgements:
        """Let no call through to any version of a server for `for_s` seconds.

        Raises:
            ServerNotFoundError: the server is neither configured nor was it ever announced.
            FleetUnavailableError: the bus is away, and nobody was told.
        """
        return await self._order(server, BreakerState.ISOLATED, for_s=for_s, reason=reason)

    async def reset(self, server: str, *, reason: str) -> Acknowledgements:
        """Close the breakers of every version of a server; raises as `isolate`."""
        return await self._order(server, BreakerState.CLOSED, for_s=0.0, reason=reason)

    async def _order(self, server: str, state: BreakerState, *, for_s: float, reason: str) -> Acknowledgements:
        self._known.check(server)
        now = time.time()
        word = BreakerChanged(
            server=server,
            state=state,
            epoch=int(now * 1000),  # whoever hears it raises that above what it knows
            opened_at=None if state is BreakerState.CLOSED else now,
            open_ms=round(for_s * 1000),
            by=ADMIN,
            reason=reason,
        )
        return await tell(self._replicas, subjects.breaker_event(server), word)

    def _breaker(self, server: str, version: str) -> Breaker:
        standing = self._words.of(server, version)
        if standing is None:
            return Breaker(server, version, BreakerState.CLOSED)
        word = standing.word
        return Breaker(
            server,
            version,
            self._state(standing),
            opened_at=word.opened_at,
            until=time.time() + standing.until - self._clock(),
            by=word.by,
            reason=word.reason,
        )

    def _state(self, standing: Standing) -> BreakerState:
        """One that is open, and whose time is over, waits for a probe: it is half-open."""
        is_due = standing.word.state is BreakerState.OPEN and standing.until <= self._clock()
        return BreakerState.HALF_OPEN if is_due else standing.word.state

    def _is_refusing(self, server: str, version: str) -> bool:
        standing = self._words.of(server, version)
        return standing is not None and self._clock() < standing.until
