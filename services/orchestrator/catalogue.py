"""What live workers offer, by server and version: derived from the fleet, in memory, anew only when it changed."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from bus_schemas.digests import definition_digest
from bus_schemas.queries import Query
from bus_schemas.workers import Catalogue, Definition, WorkerState
from services.orchestrator.arguments import ArgumentCheck
from services.runtime.definition_pins import Accepted, DefinitionPins, quarantined
from services.runtime.fleet import Fleet, Worker
from services.runtime.mirrored_headers import HeaderMap, header_map
from services.runtime.rollouts import effective_weights

log = logging.getLogger(__name__)

_NEVER = (-1, -1)
_Key = tuple[int, str | None]

Kind = Literal["tool", "resource", "prompt"]
"""What is listed."""

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
            self._digest = definition_digest(self.definition)
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

    def __init__(
        self,
        catalogue: Catalogue,
        accepted: Accepted | None = None,
        *,
        quarantined_elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        """Take what is announced, the definitions that its tools may have (None: any), and what to leave out, too."""
        self.catalogue = catalogue
        self.accepted = accepted
        self.quarantined = quarantined(accepted, catalogue.tools) | quarantined_elsewhere
        """Tools whose definitions are not accepted: for callers there are no such tools."""
        self._said: dict[Kind, Mapping[str, Sequence[str]]] = {}

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        named = ((str(tool.get("name")), tool) for tool in self.catalogue.tools)
        return {name: Tool(tool) for name, tool in named if name not in self.quarantined}

    @cached_property
    def prompts(self) -> Mapping[str, Definition]:
        return {str(prompt.get("name")): prompt for prompt in self.catalogue.prompts}

    @cached_property
    def resources(self) -> Mapping[str, Definition]:
        return {str(resource.get("uri")): resource for resource in self.catalogue.resources}

    def defined(self, kind: Kind) -> Mapping[str, Definition]:
        """Return the definitions of one kind, by name or URI."""
        match kind:
            case "tool":
                return self._tool_definitions
            case "resource":
                return self.resources
            case "prompt":
                return self.prompts

    def said(self, kind: Kind) -> Mapping[str, Sequence[str]]:
        """Return what the definitions of one kind say of themselves, casefolded; by name or URI."""
        if kind not in self._said:
            self._said[kind] = {key: _said(definition) for key, definition in self.defined(kind).items()}
        return self._said[kind]

    @cached_property
    def _tool_definitions(self) -> Mapping[str, Definition]:
        return {name: tool.definition for name, tool in self.tools.items()}

    def offers(self, query: Query) -> bool:
        """Whether the query's tool, prompt or resource is listed."""
        if query.tool is not None:
            return query.tool in self.tools
        if query.prompt is not None:
            return query.prompt in self.prompts
        return query.resource in self.resources

    def quarantines(self, query: Query) -> bool:
        """Whether the query is for a tool whose definition is not accepted."""
        return query.tool is not None and query.tool in self.quarantined


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
    def quarantined(self) -> frozenset[str]:
        """The tools whose definitions are not accepted, of any version."""
        return frozenset().union(*(live.offer.quarantined for live in self.versions.values()))

    @property
    def listed(self) -> LiveVersion:
        """The version whose definitions are shown: of those with weight, the heaviest."""
        weights = self.weights
        return self.versions[max(weights, key=lambda version: (weights[version], version))]


class CatalogueView:
    """The fleet as routing sees it. Serving workers only; of a server without any, draining ones: they still answer."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        withheld: Callable[[], Collection[str]] = tuple,
        rollout: RolloutOf = no_rollout,
        pins: DefinitionPins | None = None,
    ) -> None:
        """Take the fleet, which servers are not to be seen whoever announces them (see `refresh`), weights and pins."""
        self._fleet = fleet
        self._rollout = rollout
        self._withheld = withheld
        self._pins = DefinitionPins() if pins is None else pins
        self._revision = _NEVER
        self._servers: dict[str, LiveServer] = {}
        self._gone: dict[str, LiveServer] = {}
        self._offers: dict[_Key, Offer] = {}

    def refresh(self) -> None:
        """Look again which servers are withheld."""
        self._revision = _NEVER

    def servers(self) -> Mapping[str, LiveServer]:
        """Every server with a live worker whose catalogue is known."""
        revision = (self._fleet.revision, self._pins.revision)
        if self._revision != revision:
            self._revision = revision
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
        used: dict[_Key, Offer] = {}
        self._enter_all(WorkerState.SERVING, servers, used)
        last_resort: dict[str, LiveServer] = {}
        self._enter_all(WorkerState.DRAINING, last_resort, used)
        withheld = self._withheld()
        servers = {name: live for name, live in {**last_resort, **servers}.items() if name not in withheld}
        former = {**self._gone, **self._servers}
        self._gone = {name: gone for name, gone in former.items() if name not in servers and name not in withheld}
        for gone in self._gone.values():
            self._hold_against_pins(gone)
        self._tell_quarantine(servers)
        self._servers, self._offers = servers, used

    def _hold_against_pins(self, gone: LiveServer) -> None:
        """What the cache has of a tool is not told either, once its definition is not accepted."""
        accepted = self._pins.of(gone.name)
        for version in gone.versions.values():
            if version.offer.accepted is not accepted:
                version.offer = Offer(version.offer.catalogue, accepted)

    def _tell_quarantine(self, servers: Mapping[str, LiveServer]) -> None:
        for name, live in servers.items():
            before = self._servers.get(name)
            known = frozenset() if before is None else before.quarantined
            if live.quarantined - known:
                log.warning(
                    "definitions of tools are not accepted", extra={"server": name, "tools": len(live.quarantined)}
                )

    def _enter_all(self, state: WorkerState, servers: dict[str, LiveServer], used: dict[_Key, Offer]) -> None:
        for worker in self._fleet.workers():
            if worker.report.state is state and (offer := self._offer(worker, used)) is not None:
                _enter(servers, worker, offer, self._rollout)

    def _offer(self, worker: Worker, used: dict[_Key, Offer]) -> Offer | None:
        catalogue = self._fleet.catalogue(worker)
        if catalogue is None:
            return None
        accepted = self._pins.of(worker.report.server)
        # The fleet holds one object per distinct catalogue; what a server may offer of it is its own matter.
        key = id(catalogue), None if accepted is None else worker.report.server
        offer = used.get(key) or self._offers.get(key)
        if offer is None or offer.catalogue is not catalogue or offer.accepted is not accepted:
            offer = Offer(catalogue, accepted)
        used[key] = offer
        return offer


def _said(definition: Definition) -> Sequence[str]:
    said = (definition.get(key) for key in ("name", "title", "description", "uri"))
    return [str(words).casefold() for words in said if words]


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
    if not offer.quarantined <= live.offer.quarantined:  # of whichever worker gets the call
        both = live.offer.quarantined | offer.quarantined
        live.offer = Offer(live.offer.catalogue, live.offer.accepted, quarantined_elsewhere=both)
    live.first_started_at = min(live.first_started_at, report.started_at)
    live.instances.append(report.instance)
