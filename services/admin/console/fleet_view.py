"""Servers as the console shows them: versions with their shares, workers, and what they offer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from services.admin.rollouts.survey import Fleetwatch
from services.admin.servers import ListedServer, Servers
from services.runtime.fleet import Fleet, Report, Worker


@dataclass(frozen=True, slots=True)
class ShownTool:
    """A tool. Both are the server's own words."""

    name: str
    description: object


@dataclass(frozen=True, slots=True)
class ShownServer:
    """One server."""

    listed: ListedServer
    shares: Mapping[str, float]
    """Of its queries, in percent, by version; a version that is not there gets none."""
    workers: list[Report]
    """By version and age."""
    tools: int
    """How many its versions offer together."""

    @property
    def name(self) -> str:
        return self.listed.name

    @property
    def serving(self) -> int:
        """Workers that take queries."""
        return sum(one.serving for one in self.listed.versions)

    @property
    def others(self) -> list[str]:
        """Its live versions that have less than all of its queries, while another has some."""
        return [one.version for one in self.listed.versions if self.shares.get(one.version, 0) < 100 and self.shares]


def shown_servers(servers: Servers, fleet: Fleet, watch: Fleetwatch) -> list[ShownServer]:
    """Return every server that an operator can see, by name."""
    in_order = sorted(fleet.workers(), key=lambda one: (one.report.server, one.report.version, one.report.started_at))
    live = {server: list(workers) for server, workers in groupby(in_order, key=lambda one: one.report.server)}
    return [_shown(listed, live.get(listed.name, []), fleet, watch) for listed in servers.listed()]


def shown_tools(server: str, fleet: Fleet) -> list[ShownTool]:
    """Return what all versions of a server offer together, each name once, in its own order."""
    return _tools([worker for worker in fleet.workers() if worker.report.server == server], fleet)


def _shown(listed: ListedServer, workers: list[Worker], fleet: Fleet, watch: Fleetwatch) -> ShownServer:
    return ShownServer(
        listed=listed,
        shares=_percents(watch.weights(listed.name)),
        workers=[worker.report for worker in workers],
        tools=len(_tools(workers, fleet)),
    )


def _percents(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {version: 100 * weight / total for version, weight in weights.items()}


def _tools(workers: Iterable[Worker], fleet: Fleet) -> list[ShownTool]:
    catalogues = filter(None, map(fleet.catalogue, workers))
    definitions = (tool for catalogue in catalogues for tool in catalogue.tools)
    by_name = {str(tool.get("name")): tool.get("description") for tool in definitions}
    return [ShownTool(name, description) for name, description in by_name.items()]
