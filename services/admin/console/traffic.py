"""What the versions of servers have lately made of their calls: two minutes, second by second, in memory alone."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

from bus_schemas.replicas import OrchestratorHeartbeat, VersionCounts
from services.admin.rollouts.gate import Counts
from services.runtime.replicas import Replicas

SECONDS: Final = 120
SMOOTHED_OVER: Final = 5
"""Seconds. Heartbeats come once a second, but not when we look: one second alone may hold none of them, or two."""
_LOOK_EVERY_S: Final = 1.0

Version = tuple[str, str]
"""A server, and a version of it."""
NOTHING: Final = Counts()


@dataclass(frozen=True, slots=True)
class Point:
    """What was counted of a version over some seconds."""

    counts: Counts
    over_s: float

    @property
    def requests_per_s(self) -> float:
        return self.counts.requests / self.over_s

    @property
    def errors_per_s(self) -> float:
        return self.counts.errors / self.over_s

    @property
    def p95_ms(self) -> float | None:
        """None where no call was over."""
        return self.counts.p95_ms if self.counts.latencies else None


class Traffic:
    """Adds up what orchestrators tell of versions, once a second."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Version], VersionCounts] = {}
        self._seconds: deque[dict[Version, Counts]] = deque(maxlen=SECONDS)

    async def watch(self, replicas: Replicas) -> None:
        """Look, for ever."""
        while True:
            self.take(replicas.heartbeats())
            await asyncio.sleep(_LOOK_EVERY_S)

    def take(self, heartbeats: Iterable[OrchestratorHeartbeat]) -> None:
        """Enter the last words of all live orchestrators; call it once a second."""
        second: dict[Version, Counts] = {}
        seen = {}
        for instance, counts in _told(heartbeats):
            version = counts.server, counts.version
            seen[instance, version] = counts
            second[version] = _both(second.get(version, NOTHING), _since(self._seen.get((instance, version)), counts))
        self._seen = seen
        self._seconds.append(second)

    def versions(self) -> dict[str, list[str]]:
        """Return the versions that are being counted now, by server."""
        told: dict[str, list[str]] = {}
        for server, version in sorted(self._seconds[-1] if self._seconds else ()):
            told.setdefault(server, []).append(version)
        return told

    def lately(self, version: Version, seconds: int = SMOOTHED_OVER) -> Point:
        """Return what was counted over the last seconds; calls in flight are those of now."""
        return self._point(version, len(self._seconds), seconds)

    def history(self, version: Version, step: int = 2) -> list[Point]:
        """Return a point for every `step` seconds that are known, each over `SMOOTHED_OVER` seconds, oldest first."""
        ends = range(len(self._seconds), 0, -step)
        return [self._point(version, end, SMOOTHED_OVER) for end in reversed(ends)]

    def _point(self, version: Version, end: int, seconds: int) -> Point:
        within = [self._seconds[at].get(version, NOTHING) for at in range(max(0, end - seconds), end)]
        counts = reduce(_both, within, NOTHING)
        now = within[-1].in_flight if within else {}
        return Point(replace(counts, in_flight=now), max(1, len(within)) * _LOOK_EVERY_S)


def shares(points: Mapping[str, Point]) -> dict[str, float]:
    """Return which part of the requests each version had, 0 to 1; all are 0 without requests."""
    total = sum(point.counts.requests for point in points.values())
    return {version: point.counts.requests / total if total else 0.0 for version, point in points.items()}


def _told(heartbeats: Iterable[OrchestratorHeartbeat]) -> Iterator[tuple[str, VersionCounts]]:
    for heartbeat in heartbeats:
        for counts in heartbeat.versions:
            yield heartbeat.instance, counts


def _since(before: VersionCounts | None, now: VersionCounts) -> Counts:
    """What has come since `before`. Who is heard for the first time has counted for nobody knows how long."""
    if before is None:
        return Counts(in_flight=now.in_flight)
    if now.requests < before.requests:  # it has begun anew
        return Counts(now.requests, now.errors, now.latencies, now.in_flight)
    latencies = Counter(now.latencies) - Counter(before.latencies)
    return Counts(now.requests - before.requests, max(0, now.errors - before.errors), latencies, now.in_flight)


def _both(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.requests + other.requests,
        one.errors + other.errors,
        Counter(one.latencies) + Counter(other.latencies),
        Counter(one.in_flight) + Counter(other.in_flight),
    )
