"""What there is, from the catalogue in memory: as much of it as the caller may use."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from bus_schemas.errors import FieldError
from bus_schemas.workers import Definition
from services.orchestrator.catalogue import CatalogueView, Kind
from services.runtime.auth.principals import Principal
from services.runtime.config.policy import Policy
from services.runtime.errors import ForbiddenError, InvalidRequestError, NoWorkerError, ServerNotFoundError


class Selection(BaseModel):
    """Which part of a list is wanted."""

    server: str | None = Field(default=None, max_length=64, description="Only of this server.")
    q: str | None = Field(
        default=None, max_length=256, description="Only those whose name, title, description or URI holds this text."
    )
    limit: int = Field(default=100, ge=1, le=1000, description="Size of a page.")
    cursor: str | None = Field(default=None, max_length=16384, description="As the page before gave it.")


class ListedVersion(BaseModel):
    """One live version of a server."""

    version: str
    weight: float = Field(description="Its share of the server's queries, in percent.")
    instances: int


class ListedServer(BaseModel):
    """A server as callers see it."""

    name: str
    status: Literal["connected", "disconnected"]
    versions: list[ListedVersion]
    tools: int


class ServerList(BaseModel):
    """Every server that the key may use."""

    servers: list[ListedServer]


class ToolItem(BaseModel):
    """A tool, as its server defines it."""

    server: str
    version: str
    tool: dict[str, Any]


class ToolPage(BaseModel):
    """One page of tools, by server and name."""

    tools: list[ToolItem]
    next_cursor: str | None


class ResourceItem(BaseModel):
    """A resource, as its server defines it."""

    server: str
    version: str
    resource: dict[str, Any]


class ResourcePage(BaseModel):
    """One page of resources, by server and URI."""

    resources: list[ResourceItem]
    next_cursor: str | None


class PromptItem(BaseModel):
    """A prompt, as its server defines it."""

    server: str
    version: str
    prompt: dict[str, Any]


class PromptPage(BaseModel):
    """One page of prompts, by server and name."""

    prompts: list[PromptItem]
    next_cursor: str | None


class Lists:
    """Reads the catalogue for one caller at a time."""

    def __init__(self, policy: Policy, catalogue: CatalogueView) -> None:
        self._policy = policy
        self._catalogue = catalogue

    def servers(self, principal: Principal) -> ServerList:
        """Every configured or live server that the caller may use, by name."""
        names = sorted({*self._policy.servers, *self._catalogue.servers()})
        return ServerList(servers=[self._server(name, principal) for name in names if principal.may_use_server(name)])

    def page(
        self, kind: Kind, principal: Principal, wanted: Selection
    ) -> tuple[list[tuple[str, str, Definition]], str | None]:
        """Return a page of (server, version, definition), and the cursor of the next one.

        Raises:
            InvalidRequestError: the cursor is not one of ours.
        """
        page: list[tuple[str, str, Definition]] = []
        last = ("", "")
        after = _decode_cursor(wanted.cursor)
        for name, version, key, definition in self._definitions(kind, principal, wanted, after):
            if len(page) == wanted.limit:
                return page, _encode_cursor(*last)
            page.append((name, version, definition))
            last = (name, key)
        return page, None

    def tools_of(self, server: str, principal: Principal) -> tuple[str, Mapping[str, Definition]]:
        """Return the version of a server whose tools are listed, and those that the caller may use, by name.

        Raises:
            ForbiddenError: the caller may use nothing of it.
            ServerNotFoundError: it is neither configured nor was it ever announced.
            NoWorkerError: it is away, and nobody knows its tools.
        """
        if not principal.may_use_server(server):
            raise ForbiddenError
        if server not in self._policy.servers and not self._catalogue.is_known(server):
            raise ServerNotFoundError
        live = self._catalogue.live(server) or self._catalogue.former(server)
        if live is None:
            raise NoWorkerError
        tools = live.listed.offer.tools
        return live.listed.version, {
            name: tool.definition for name, tool in tools.items() if principal.may_use(server, name)
        }

    def _server(self, name: str, principal: Principal) -> ListedServer:
        live = self._catalogue.live(name)
        if live is None:
            return ListedServer(name=name, status="disconnected", versions=[], tools=0)
        weights = live.weights
        total = sum(weights.values())
        return ListedServer(
            name=name,
            status="connected",
            versions=[
                ListedVersion(
                    version=version,
                    weight=100 * weights.get(version, 0) / total,
                    instances=len(live.versions[version].instances),
                )
                for version in sorted(live.versions)
            ],
            tools=len(principal.usable(name, live.listed.offer.tools)),
        )

    def _definitions(
        self, kind: Kind, principal: Principal, wanted: Selection, after: tuple[str, str]
    ) -> Iterator[tuple[str, str, str, Definition]]:
        """Yield server, version, name or URI, and definition of what comes after `after`, by server and name."""
        text = (wanted.q or "").casefold()
        servers = self._catalogue.servers()
        for name in sorted(servers):
            if wanted.server not in (None, name) or name < after[0]:
                continue
            listed = servers[name].listed
            definitions = listed.offer.defined(kind)
            keys: Iterable[str] = definitions
            if text:
                keys = [key for key, said in listed.offer.said(kind).items() if any(text in words for words in said)]
            for key in sorted(principal.usable(name, keys)):
                if (name, key) > after:
                    yield name, listed.version, key, definitions[key]


def _encode_cursor(server: str, key: str) -> str:
    return base64.urlsafe_b64encode(f"{server}\n{key}".encode()).decode()


def _decode_cursor(cursor: str | None) -> tuple[str, str]:
    if not cursor:
        return ("", "")
    try:
        server, newline, key = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition("\n")
    except ValueError as error:  # not ASCII, not base64, not UTF-8
        raise InvalidRequestError(errors=[FieldError(pointer="/cursor", keyword="format")]) from error
    if not newline:
        raise InvalidRequestError(errors=[FieldError(pointer="/cursor", keyword="format")])
    return server, key
