"""What each version of a server makes of its calls: rollouts compare versions by it, and the console draws it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from bus_schemas.errors import ERRORS
from bus_schemas.latencies import latency_bucket
from bus_schemas.replicas import VersionCounts
from services.orchestrator.catalogue import CatalogueView, LiveVersion
from services.orchestrator.dispatch import Outcome
from services.runtime.errors import CircuitOpenError, NoWorkerError, QueryError
from services.runtime.rollouts import RolloutWords

_MOST_TOLD: Final = 64
"""Versions in a heartbeat; whatever lives, it stays small."""

Calling = Callable[[], Awaitable[Outcome]]
Counting = Callable[[LiveVersion, Calling], Calling]


def uncounted(_version: LiveVersion, call: Calling) -> Calling:
    """Return `call` as it is."""
    return call


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    errors: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    in_flight: dict[int, float] = field(default_factory=dict)
    """Since when, by a number of the call."""


class VersionTallies:
    """Counts the calls of every version of servers that live, or have a rollout under way."""

    def __init__(
        self, catalogue: CatalogueView, words: RolloutWords, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is in seconds."""
        self._catalogue = catalogue
        self._words = words
        self._clock = clock
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._calls = 0

    def counting(self, version: LiveVersion, call: Calling) -> Calling:
        """Return `call`, counted: however many workers it asks, it is one request.

        A call that no worker took, or that its caller gave up, says nothing of the version.
        """
        key = version.server, version.version
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()

        async def counted() -> Outcome:
            began_at = self._clock()
            self._calls += 1
            number = self._calls
            tally.in_flight[number] = began_at
            try:
                outcome = await call()
            except (NoWorkerError, CircuitOpenError, asyncio.CancelledError):
                raise
            except QueryError as error:
                self._count(tally, began_at, is_error=ERRORS[error.code].status >= 500)
                raise
            else:
                self._count(tally, began_at, is_error=outcome.says_error)
                return outcome
            finally:
                del tally.in_flight[number]

        return counted

    def told(self) -> list[VersionCounts]:
        """Return what was counted, of rollouts first; forget versions of servers that have gone."""
        now = self._clock()
        for key in [key for key in self._tallies if not self._is_counted(key[0])]:
            del self._tallies[key]
        told = sorted(self._tallies.items(), key=lambda item: (self._rank(item[0][0]), item[0]))
        return [
            VersionCounts(
                server=server,
                version=version,
                requests=tally.requests,
                errors=tally.errors,
                latencies=dict(tally.latencies),
                in_flight=Counter(latency_bucket(now - began_at) for began_at in tally.in_flight.values()),
            )
            for (server, version), tally in told[:_MOST_TOLD]
        ]

    def _is_counted(self, server: str) -> bool:
        return self._words.is_under_way(server) or self._catalogue.live(server) is not None

    def _rank(self, server: str) -> int:
        """Which servers are told of first, if not all are: those whose versions somebody has to compare."""
        if self._words.is_under_way(server):
            return 0
        live = self._catalogue.live(server)
        return 1 if live is not None and len(live.versions) > 1 else 2

    def _count(self, tally: _Tally, began_at: float, *, is_error: bool) -> None:
        tally.requests += 1
        tally.errors += is_error
        tally.latencies[latency_bucket(self._clock() - began_at)] += 1
