"""How the definitions of a server's tools are pinned, and others accepted: retained in the store, then told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bus_schemas import subjects
from bus_schemas.digests import definition_digest
from bus_schemas.workers import Definition
from services.admin.errors import FleetUnavailableError, PinNotFoundError
from services.admin.known_servers import KnownServers
from services.admin.telling import tell
from services.runtime.bus import BusAwayError
from services.runtime.definition_pins import PINS, Accepted, DefinitionPins, quarantined
from services.runtime.errors import NoWorkerError
from services.runtime.fleet import Fleet
from services.runtime.replicas import Acknowledgements, Replicas
from services.runtime.store import Store
from services.runtime.words import retain

_MOST_OF_A_TOOL: Final = 8
"""Definitions that a tool may have: those of versions side by side, and of some before them."""


@dataclass(frozen=True, slots=True)
class QuarantinedTool:
    """A tool that is neither listed nor called."""

    tool: str
    version: str
    change: Literal["changed", "new"]
    digest: str
    definition: Definition


@dataclass(frozen=True, slots=True)
class PinnedServer:
    """A server whose definitions are pinned."""

    server: str
    pinned_at: float
    """Since when the pins are what they are, seconds since 1970."""
    by: str
    tools: int
    quarantined: list[QuarantinedTool]


@dataclass(frozen=True, slots=True)
class PinChange:
    """What became of an order."""

    acknowledgements: Acknowledgements
    is_retained: bool
    """Whether the store has it. Where it has not, the processes that live remember it, and tell the store later."""
    tools: int
    """How many are pinned now."""


class PinControl:
    """Shows pins, and gives an operator's orders."""

    def __init__(
        self,
        pins: DefinitionPins,
        fleet: Fleet,
        replicas: Replicas,
        store: Store,
        known: KnownServers,
        *,
        instance: str,
    ) -> None:
        """Take the table of what holds; `instance` is who we are."""
        self._pins = pins
        self._fleet = fleet
        self._replicas = replicas
        self._store = store
        self._known = known
        self._instance = instance

    def listed(self) -> list[PinnedServer]:
        """Return every server whose definitions are pinned, by name, and what is in quarantine there."""
        return [
            PinnedServer(
                server,
                word.updated_at,
                word.by,
                len(word.tools or ()),
                list(self._quarantined(server, word.tools or {})),
            )
            for server, word in sorted(self._pins.pinned().items())
        ]

    async def pin(self, server: str) -> PinChange:
        """Pin what the server's live workers announce now, of whichever version; nothing else is accepted any more.

        Raises:
            ServerNotFoundError: the server is neither configured nor was it ever announced.
            NoWorkerError: nobody announces anything of it now.
            FleetUnavailableError: the bus is away, and nothing was changed.
        """
        self._known.check(server)
        tools: dict[str, list[str]] = {}
        announced = list(self._announced(server))
        if not announced:
            raise NoWorkerError
        for _, definitions in announced:
            for definition in definitions:
                _accept(tools, str(definition.get("name")), definition_digest(definition))
        return await self._order(server, tools)

    async def accept(self, server: str, digests: Mapping[str, str]) -> PinChange:
        """Accept one more definition of each of these tools: the one with that digest, whoever announces it when.

        Raises:
            PinNotFoundError: the server's definitions are not pinned.
            FleetUnavailableError: the bus is away, and nothing was changed.
        """
        tools = {name: list(accepted) for name, accepted in self._accepted(server).items()}
        for name, digest in digests.items():
            _accept(tools, name, digest)
        return await self._order(server, tools)

    async def unpin(self, server: str) -> PinChange:
        """Let a server's tools have any definition. Raises as `accept`."""
        self._accepted(server)
        return await self._order(server, None)

    def _accepted(self, server: str) -> Accepted:
        accepted = self._pins.of(server)
        if accepted is None:
            raise PinNotFoundError
        return accepted

    async def _order(self, server: str, tools: Accepted | None) -> PinChange:
        try:
            await self._replicas.completed()
        except BusAwayError as error:
            raise FleetUnavailableError from error
        word = self._pins.next(server, tools, by=self._instance)
        self._pins.take(word)
        is_retained = await retain(self._store, PINS, [word])
        try:
            acknowledgements = await tell(self._replicas, subjects.pins_event(server), word)
        except FleetUnavailableError:  # it went away since: what is done is done, and nobody has heard of it
            acknowledgements = Acknowledgements(by=[], missing=sorted(self._replicas.instances()))
        return PinChange(acknowledgements, is_retained, len(tools or ()))

    def _announced(self, server: str) -> Iterator[tuple[str, list[Definition]]]:
        """Yield the version and the tools of each distinct catalogue of a server's live workers."""
        seen: set[tuple[str, int]] = set()
        for worker in self._fleet.workers():
            catalogue = self._fleet.catalogue(worker)
            if worker.report.server != server or catalogue is None:
                continue
            if (key := (worker.report.version, id(catalogue))) not in seen:
                seen.add(key)
                yield worker.report.version, catalogue.tools

    def _quarantined(self, server: str, accepted: Accepted) -> Iterator[QuarantinedTool]:
        for version, definitions in sorted(self._announced(server), key=lambda one: one[0]):
            names = quarantined(accepted, definitions)
            for definition in definitions:
                name = str(definition.get("name"))
                if name in names:
                    change: Literal["changed", "new"] = "changed" if name in accepted else "new"
                    yield QuarantinedTool(name, version, change, definition_digest(definition), definition)


def _accept(tools: dict[str, list[str]], name: str, digest: str) -> None:
    others = [one for one in tools.get(name, ()) if one != digest]
    tools[name] = [*others, digest][-_MOST_OF_A_TOOL:]
