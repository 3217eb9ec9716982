"""Whom a name or a URI of `/mcp` belongs to, and what is listed of everybody: derived from the catalogue."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from bus_schemas.workers import Definition
from services.orchestrator.catalogue import CatalogueView, LiveServer, Offer, Tool
from services.orchestrator.mcp.names import hashed_name, plain_name, prefixed_uri, shared_name, split_name, split_uri
from services.orchestrator.mcp.uri_templates import UriTemplate
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import Policy
from services.runtime.errors import AmbiguousToolError

Kind = Literal["tools", "resources", "resourceTemplates", "prompts"]
"""As the member of a list's result is called."""

KEYS: Mapping[Kind, str] = {"tools": "name", "resources": "uri", "resourceTemplates": "uriTemplate", "prompts": "name"}
"""By which member a definition is known."""


class Target(NamedTuple):
    """Whom something is asked of, and what it is called there."""

    server: str | None
    """None: several have it; whether they are one group is for routing to say."""
    name: str


class Listed(NamedTuple):
    """One definition, and what it is called for whoever lists it."""

    server: str
    key: str
    """As its server calls it."""
    shared: str
    definition: Definition


@dataclass(slots=True)
class _Index:
    """What cannot be told from a name alone."""

    hashed: dict[str, Target] = field(default_factory=dict)
    owners: dict[str, list[str]] = field(default_factory=dict)
    """The servers that list a URI, or a template."""
    templates: list[tuple[UriTemplate, str]] = field(default_factory=list)


class Directory:
    """Knows both ways: from a definition to its name in `/mcp`, and back.

    A server that is away keeps its names: what is asked of it is asked of its alternates.
    """

    def __init__(self, policy: Policy, catalogue: CatalogueView) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._indexed: Mapping[str, LiveServer] | None = None
        self._index = _Index()

    def is_known(self, server: str) -> bool:
        """Whether the server is configured, or was ever announced."""
        return server in self._policy.servers or self._catalogue.is_known(server)

    def version(self, server: str) -> str | None:
        """The version of a live server whose definitions are listed."""
        live = self._catalogue.live(server)
        return None if live is None else live.listed.version

    def named(self, shared: str) -> Target | None:
        """Return whose tool or prompt is called so in `/mcp`; whether there is such a one is for its server to say."""
        found = self._current().hashed.get(shared)
        if found is not None:
            return found
        parts = split_name(shared)
        return Target(*parts) if parts is not None and self.is_known(parts[0]) else None

    def called(self, server: str, name: str) -> str | None:
        """Return what a tool or a prompt is called in `/mcp`; None: it has no name there."""
        return _shared(self._current(), "tools", server, name)

    def tool(self, server: str | None, name: str) -> Tool | None:
        """Return a tool of a live server, by its own name, or, without `server`, by that in `/mcp`."""
        target = self.named(name) if server is None else Target(server, name)
        live = None if target is None or target.server is None else self._catalogue.live(target.server)
        return None if live is None or target is None else live.listed.offer.tools.get(target.name)

    def resource(self, uri: str) -> Target | None:
        """Return who has the resource at a URI of `/mcp`: who lists it, else whose template it fits best.

        Raises:
            AmbiguousToolError: it fits templates of several servers equally well.
        """
        parts = split_uri(uri)
        if parts is not None and self.is_known(parts[0]):
            return Target(*parts)
        index = self._current()
        owners = index.owners.get(uri)
        if owners is not None:
            return Target(owners[0] if len(owners) == 1 else None, uri)
        fitting = [(template.weight, server) for template, server in index.templates if template.matches(uri)]
        if not fitting:
            return None
        best = max(weight for weight, _ in fitting)
        servers = {server for weight, server in fitting if weight == best}
        if len(servers) > 1:
            raise AmbiguousToolError
        return Target(servers.pop(), uri)

    def template(self, uri_template: str) -> Target | None:
        """Return who lists a resource template of `/mcp`, for the completion of its variables."""
        parts = split_uri(uri_template)
        if parts is not None and self.is_known(parts[0]):
            return Target(*parts)
        owners = self._current().owners.get(uri_template)
        return Target(owners[0], uri_template) if owners is not None and len(owners) == 1 else None

    def listing(
        self, kind: Kind, principal: Principal, server: str | None, after: tuple[str, str] = ("", "")
    ) -> Iterator[Listed]:
        """Yield what `principal` may use of one server, under its own names, or of all: by server, then by key.

        Args:
            kind: of what.
            principal: who asks.
            server: None for all.
            after: the server and the key after which to begin.
        """
        servers = self._catalogue.servers()
        index = self._current() if server is None else None
        for name in sorted(servers) if server is None else filter(servers.__contains__, [server]):
            if name < after[0] or not principal.may_use_server(name):
                continue
            definitions = _definitions(servers[name].listed.offer, kind)
            for key in sorted(definitions):
                if (name, key) <= after or not principal.may_use(name, key):
                    continue
                shared = key if index is None else _shared(index, kind, name, key)
                if shared is not None:
                    yield Listed(name, key, shared, definitions[key])

    def _current(self) -> _Index:
        servers = self._catalogue.servers()
        if servers is not self._indexed:
            self._index = _index_of(self._catalogue.remembered())
            self._indexed = servers
        return self._index


def _shared(index: _Index, kind: Kind, server: str, key: str) -> str | None:
    """Return what a definition is called in `/mcp`; None if the hash of another's name makes up the same."""
    if kind in ("tools", "prompts"):
        shared = shared_name(server, key)
        return shared if index.hashed.get(shared, (server, key)) == (server, key) else None
    return key if len(index.owners.get(key, ())) <= 1 and split_uri(key) is None else prefixed_uri(server, key)


def _index_of(servers: Mapping[str, LiveServer]) -> _Index:
    index = _Index()
    for name in sorted(servers):
        offers = [version.offer for version in servers[name].versions.values()]
        called = {key for offer in offers for key in (*offer.tools, *offer.prompts)}
        for key in sorted(key for key in called if plain_name(name, key) is None):
            index.hashed.setdefault(hashed_name(name, key), Target(name, key))
        templates = {key for offer in offers for key in _definitions(offer, "resourceTemplates")}
        for key in {key for offer in offers for key in offer.resources} | templates:
            index.owners.setdefault(key, []).append(name)
        index.templates += [(UriTemplate(key), name) for key in templates]
    return index


def _definitions(offer: Offer, kind: Kind) -> Mapping[str, Definition]:
    match kind:
        case "tools":
            return offer.defined("tool")
        case "resources":
            return offer.resources
        case "resourceTemplates":
            return {str(one.get("uriTemplate")): one for one in offer.catalogue.resource_templates}
        case "prompts":
            return offer.prompts
