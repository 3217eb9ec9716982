"""What live workers offer, by server and version: derived from the fleet, in memory, anew only when it changed."""

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bus_schemas.queries import Query
from bus_schemas.workers import Catalogue, Definition, WorkerState
from services.orchestrator.arguments import ArgumentCheck
from services.runtime.fleet import Fleet, Worker
from services.runtime.mirrored_headers import HeaderMap, header_map
from services.runtime.rollouts import effective_weights

log = logging.getLogger(__name__)

RolloutOf = Callable[[str], Mapping[str, float]]
"""Gives the weights that rollouts have set for a server, by version; none where there never was a rollout."""


def no_rollout(_server: str) -> Mapping[str, float]:
    """As if there never was one."""
    return {}


@dataclass(slots=True)
class Tool:
    """One tool of one version; its schema is compiled when it is first called."""

    definition: Definition
    _check: ArgumentCheck | None = None
    _digest: str | None = None
    _mirrored: HeaderMap | None = None

    @property
    def digest(self) -> str:
        """By what a definition is told from another: its SHA-256, in hex."""
        if self._digest is None:
            self._digest = hashlib.sha256(json.dumps(self.definition, sort_keys=True).encode()).hexdigest()
        return self._digest

    @property
    def mirrored(self) -> HeaderMap:
        """Which arguments are repeated in HTTP headers; none where the annotations are not what they should be."""
        if self._mirrored is None:
            try:
                self._mirrored = header_map(self.definition.get("inputSchema"))
            except ValueError:
                self._mirrored = {}
        return self._mirrored

    def check(self, arguments: dict[str, Any]) -> None:
        """Raises InvalidArgumentsError."""
        if self._check is None:
            self._check = ArgumentCheck(self.definition.get("inputSchema"))
            if not self._check.is_enforced:
                log.info("input schema is not enforced", extra={"tool": self.definition.get("name")})
        self._check.check(arguments)


class Offer:
    """What one catalogue holds, by name. Versions and workers that announce the same catalogue share one."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        return {str(tool.get("name")): Tool(tool) for tool in self.catalogue.tools}

    @cached_property
    def prompts(self) -> Mapping[str, Definition]:
        return {str(prompt.get("name")): prompt for prompt in self.catalogue.prompts}

    @cached_property
    def resources(self) -> Mapping[str, Definition]:
        return {str(resource.get("uri")): resource for resource in self.catalogue.resources}

    def offers(self, query: Query) -> bool:
        """Whether the query's tool, prompt or resource is listed."""
        if query.tool is not None:
            return query.tool in self.tools
        if query.prompt is not None:
            return query.prompt in self.prompts
        return query.resource in self.resources


@dataclass(slots=True)
class LiveVersion:
    """One version of a server that has a live worker."""

    server: str
    version: str
    offer: Offer
    first_started_at: float
    instances: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LiveServer:
    """A server that has a live worker."""

    name: str
    rollout: RolloutOf
    versions: dict[str, LiveVersion] = field(default_factory=dict)

    @property
    def first_version(self) -> str:
        """The version whose live worker started first."""
        return min(self.versions.values(), key=lambda live: (live.first_started_at, live.version)).version

    @property
    def weights(self) -> Mapping[str, float]:
        """The shares of its live versions that have any, as they are now; they need not add up to 100."""
        return effective_weights(self.rollout(self.name), self.versions, self.first_version)

    @property
    def listed(self) -> LiveVersion:
        """The version whose definitions are shown: of those with weight, the heaviest."""
        weights = self.weights
        return self.versions[max(weights, key=lambda version: (weights[version], version))]


class CatalogueView:
    """The fleet as routing sees it. Serving workers only; of a server without any, draining ones: they still answer."""

    def __init__(
        self, fleet: Fleet, *, withheld: Callable[[], Collection[str]] = tuple, rollout: RolloutOf = no_rollout
    ) -> None:
        """Take the fleet, which servers are not to be seen whoever announces them (see `refresh`), and the weights."""
        self._fleet = fleet
        self._rollout = rollout
        self._withheld = withheld
        self._revision = -1
        self._servers: dict[str, LiveServer] = {}
        self._gone: dict[str, LiveServer] = {}
        self._offers: dict[int, Offer] = {}

    def refresh(self) -> None:
        """Look again which servers are withheld."""
        self._revision = -1

    def servers(self) -> Mapping[str, LiveServer]:
        """Every server with a live worker whose catalogue is known."""
        if self._revision != self._fleet.revision:
            self._revision = self._fleet.revision
            self._rebuild()
        return self._servers

    def live(self, server: str) -> LiveServer | None:
        return self.servers().get(server)

    def former(self, server: str) -> LiveServer | None:
        """The server as it was when it last had a live worker, if it has none now."""
        self.servers()
        return self._gone.get(server)

    def remembered(self) -> Mapping[str, LiveServer]:
        """Every live server, and those that are gone as they last were."""
        return {**self.servers(), **self._gone}

    def is_known(self, server: str) -> bool:
        """Whether the server was ever announced, and is not withheld."""
        return self._fleet.was_seen(server) and server not in self._withheld()

    def offerers(self, query: Query) -> Iterable[str]:
        """The live servers that list what the query asks for."""
        return _offering(self.servers(), query)

    def former_offerers(self, query: Query) -> Iterable[str]:
        """The servers that listed it when they last had a live worker, and have none now."""
        return _offering(self._gone, query)

    def _rebuild(self) -> None:
        servers: dict[str, LiveServer] = {}
        used: dict[int, Offer] = {}
        self._enter_all(WorkerState.SERVING, servers, used)
        last_resort: dict[str, LiveServer] = {}
        self._enter_all(WorkerState.DRAINING, last_resort, used)
        withheld = self._withheld()
        servers = {name: live for name, live in {**last_resort, **servers}.items() if name not in withheld}
        former = {**self._gone, **self._servers}
        self._gone = {name: gone for name, gone in former.items() if name not in servers and name not in withheld}
        self._servers, self._offers = servers, used

    def _enter_all(self, state: WorkerState, servers: dict[str, LiveServer], used: dict[int, Offer]) -> None:
        for worker in self._fleet.workers():
            if worker.report.state is state and (offer := self._offer(worker, used)) is not None:
                _enter(servers, worker, offer, self._rollout)

    def _offer(self, worker: Worker, used: dict[int, Offer]) -> Offer | None:
        catalogue = self._fleet.catalogue(worker)
        if catalogue is None:
            return None
        key = id(catalogue)  # the fleet holds one object per distinct catalogue
        offer = used.get(key) or self._offers.get(key)
        if offer is None or offer.catalogue is not catalogue:
            offer = Offer(catalogue)
        used[key] = offer
        return offer


def _offering(servers: Mapping[str, LiveServer], query: Query) -> Iterator[str]:
    for name, server in servers.items():
        if any(live.offer.offers(query) for live in server.versions.values()):
            yield name


def _enter(servers: dict[str, LiveServer], worker: Worker, offer: Offer, rollout: RolloutOf) -> None:
    report = worker.report
    server = servers.setdefault(report.server, LiveServer(report.server, rollout))
    live = server.versions.get(report.version)
    if live is None:
        live = server.versions[report.version] = LiveVersion(report.server, report.version, offer, report.started_at)
    live.first_started_at = min(live.first_started_at, report.started_at)
    live.instances.append(report.instance)
