"""The servers that can be steered: those of the configuration, and each that a worker has ever announced."""

from services.runtime.config.policy import Policy
from services.runtime.errors import ServerNotFoundError
from services.runtime.fleet import Fleet


class KnownServers:
    """Tells a server from a name."""

    def __init__(self, policy: Policy, fleet: Fleet) -> None:
        self._policy = policy
        self._fleet = fleet

    def check(self, server: str) -> None:
        """Raise ServerNotFoundError if it is neither configured nor was it ever announced."""
        if server not in self._policy.servers and not self._fleet.was_seen(server):
            raise ServerNotFoundError

    def listed(self) -> set[str]:
        """Return the names of those that are configured, and of those that have a live worker."""
        return {*self._policy.servers, *(worker.report.server for worker in self._fleet.workers())}
