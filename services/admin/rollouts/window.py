"""What the orchestrators have counted of the versions of a server since a moment, each of them from its own words."""

from collections import Counter
from collections.abc import Iterable, Mapping

from bus_schemas.replicas import OrchestratorHeartbeat, VersionCounts
from services.admin.rollouts.gate import Counts


class Window:
    """Adds up heartbeats. Counters only grow; one that is smaller than before has begun anew.

    One that has begun anew and has overtaken itself since is not told from one that grew: it counts too little.
    """

    def __init__(self, server: str, heartbeats: Iterable[OrchestratorHeartbeat]) -> None:
        """Begin now: what these say was counted before."""
        self._server = server
        self._before: dict[tuple[str, str], VersionCounts] = {}
        self._latest: dict[tuple[str, str], VersionCounts] = {}
        self.add(heartbeats)
        self._before = dict(self._latest)

    def add(self, heartbeats: Iterable[OrchestratorHeartbeat]) -> None:
        """Take what the live orchestrators said last; what one that has gone said remains, but for its open calls."""
        lives = set()
        for heartbeat in heartbeats:
            lives.add(heartbeat.instance)
            told = {counts.version: counts for counts in heartbeat.versions if counts.server == self._server}
            for version, counts in told.items():
                key = heartbeat.instance, version
                if key in self._before and counts.requests < self._before[key].requests:
                    del self._before[key]
                self._latest[key] = counts
        for key, counts in self._latest.items():
            if key[0] not in lives and counts.in_flight:
                self._latest[key] = counts.model_copy(update={"in_flight": {}})

    def of(self, version: str) -> Counts:
        """Return what was counted of a version in the window; calls in flight are those of now."""
        return self._sum(version, self._before)

    def ever(self, version: str) -> Counts:
        """Return all that the orchestrators have counted of a version."""
        return self._sum(version, {})

    def _sum(self, version: str, before: Mapping[tuple[str, str], VersionCounts]) -> Counts:
        requests = errors = 0
        latencies: Counter[int] = Counter()
        in_flight: Counter[int] = Counter()
        for key, counts in self._latest.items():
            if key[1] != version:
                continue
            earlier = before.get(key)
            requests += counts.requests - (earlier.requests if earlier else 0)
            errors += max(0, counts.errors - (earlier.errors if earlier else 0))
            latencies += Counter(counts.latencies) - Counter(earlier.latencies if earlier else {})
            in_flight.update(counts.in_flight)
        return Counts(requests, errors, latencies, in_flight)
