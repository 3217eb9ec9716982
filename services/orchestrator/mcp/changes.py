"""What has changed of the lists, told to whoever listens: from what workers announce on the bus, on every replica."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, Literal

from services.orchestrator.catalogue import CatalogueView, Offer
from services.runtime.auth.principals import Principal
from services.runtime.errors import OverloadedError

ListKind = Literal["tools", "resources", "prompts"]
LIST_KINDS: Final[tuple[ListKind, ...]] = ("tools", "resources", "prompts")
"""As notifications call them; templates change with the resources."""

_LOOK_S: Final = 0.25
"""Between two looks at the catalogue: many changes in a row, as at a start, are one."""


class Listener:
    """One stream, and what it has not been told yet."""

    def __init__(self, principal: Principal, server: str | None, kinds: frozenset[ListKind]) -> None:
        self._principal = principal
        self._server = server
        self._kinds = kinds
        self._changed: set[ListKind] = set()
        self._news = asyncio.Event()
        self.is_over = False
        """Whether nothing more will come."""

    async def changes(self, within_s: float) -> list[ListKind]:
        """Return what has changed, as soon as something has; nothing when it is over, or after `within_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
        changed, self._changed = self._changed, set()
        return sorted(changed)

    def end(self) -> None:
        """Let it be over."""
        self.is_over = True
        self._news.set()

    def hear(self, server: str, kinds: set[ListKind]) -> None:
        """Note what has changed of a server, as far as it is listened to."""
        if self._server in (None, server) and self._principal.may_use_server(server) and kinds & self._kinds:
            self._changed |= kinds & self._kinds
            self._news.set()


class ListChanges:
    """Looks for changes while somebody listens."""

    def __init__(self, catalogue: CatalogueView, *, most_listeners: int) -> None:
        self._catalogue = catalogue
        self._most_listeners = most_listeners
        self._listeners: set[Listener] = set()
        self._known: Mapping[str, Offer] = {}
        self._is_over = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextmanager
    def listening(self, principal: Principal, server: str | None, kinds: frozenset[ListKind]) -> Iterator[Listener]:
        """Listen to what `principal` may use of one server, or of all, for as long as the context lasts.

        Raises:
            OverloadedError: too many do.
        """
        if len(self._listeners) >= self._most_listeners:
            raise OverloadedError
        if not self._listeners:
            self._known = self._listed()
        listener = Listener(principal, server, kinds)
        self._listeners.add(listener)
        if self._is_over:
            listener.end()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def watch(self, stopping: asyncio.Event) -> None:
        """Tell what changes until `stopping`; then end all streams: their clients listen elsewhere."""
        while not stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await stopping.wait()
            if self._listeners:
                self._look()
        self._is_over = True
        for listener in self._listeners:
            listener.end()

    def _look(self) -> None:
        before, self._known = self._known, self._listed()
        for server in before.keys() | self._known.keys():
            kinds = _difference(before.get(server), self._known.get(server))
            if kinds:
                for listener in self._listeners:
                    listener.hear(server, kinds)

    def _listed(self) -> Mapping[str, Offer]:
        return {name: live.listed.offer for name, live in self._catalogue.servers().items()}


def _difference(before: Offer | None, after: Offer | None) -> set[ListKind]:
    """Return which lists of a server are not what they were."""
    if before is after:
        return set()
    old, new = _lists(before), _lists(after)
    return {kind for kind in LIST_KINDS if old[kind] != new[kind]}


def _lists(offer: Offer | None) -> Mapping[ListKind, list[object]]:
    if offer is None:
        return {kind: [] for kind in LIST_KINDS}
    catalogue = offer.catalogue
    return {
        "tools": [tool.definition for tool in offer.tools.values()],
        "resources": [*catalogue.resources, *catalogue.resource_templates],
        "prompts": list(catalogue.prompts),
    }
