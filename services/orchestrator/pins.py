"""Which worker holds a caller's own session (`session: caller`), and which one is to hold a new one."""

import hashlib
import time
from collections.abc import Callable, Collection
from typing import Final

from bus_schemas.digests import caller_digest
from services.runtime.fleet import Fleet, Report

_MOST_LOSSES: Final = 10_000


def rendezvous(caller: str, instances: Collection[str]) -> list[str]:
    """Return the instances in the order in which they are to hold the caller's session.

    Every orchestrator that knows the same instances finds the same order, and an instance that comes or goes changes
    the first choice only of the callers that it gains or loses.

    Source: D. Thaler, C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 6(1), 1998.
    """
    digest = caller_digest(caller)
    return sorted(instances, key=lambda instance: hashlib.sha256(f"{digest}.{instance}".encode()).digest())


class Pins:
    """Who holds whom, from the workers' own reports; and whose holder has gone."""

    def __init__(self, fleet: Fleet, *, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Follow the fleet.

        Args:
            fleet: its reports name the callers.
            idle_s: how long workers keep a session without a call: after that there is nothing left to be lost.
            clock: the moment now, in seconds.
        """
        self._fleet = fleet
        self._idle_s = idle_s
        self._clock = clock
        self._losses: dict[tuple[str, str], tuple[str, float]] = {}
        fleet.on_death(self._note_death)

    def holder(self, server: str, caller: str) -> Report | None:
        """Return the last report of the worker that holds the caller's session."""
        digest = caller_digest(caller)
        holders = self._holders(server, digest, but=self._lost_with(server, digest))
        return holders[rendezvous(caller, holders)[0]] if holders else None

    def lost_with(self, server: str, caller: str) -> str | None:
        """Return the instance with which the caller's session was lost, as long as the caller may not know of it."""
        return self._lost_with(server, caller_digest(caller))

    def lose(self, server: str, caller: str, instance: str) -> None:
        """Note that the worker that held the caller's session does not take calls any more."""
        self._note_loss(server, caller_digest(caller), instance)

    def _holders(self, server: str, digest: str, *, but: str | None) -> dict[str, Report]:
        reports = (worker.report for worker in self._fleet.workers())
        return {
            report.instance: report
            for report in reports
            if report.server == server and digest in report.callers and report.instance != but
        }

    def _lost_with(self, server: str, digest: str) -> str | None:
        instance, lost_at = self._losses.get((server, digest), (None, 0.0))
        return instance if self._clock() - lost_at < self._idle_s else None

    def _note_death(self, gone: Report) -> None:
        for digest in gone.callers:
            # Where another worker holds the caller by now, the caller was told when that one took over.
            if not self._holders(gone.server, digest, but=gone.instance):
                self._note_loss(gone.server, digest, gone.instance)

    def _note_loss(self, server: str, digest: str, instance: str) -> None:
        self._losses.pop((server, digest), None)
        self._losses[server, digest] = instance, self._clock()
        if len(self._losses) > _MOST_LOSSES:
            del self._losses[next(iter(self._losses))]
