"""What is to be seen now: the whole fleet, gathered once a second at most however many look, as panels of HTML."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from services.admin.breakers import Breaker, BreakerControl
from services.admin.cache import CacheControl, CacheStatistics
from services.admin.console.audit_tail import AuditTail
from services.admin.console.fleet_view import ShownServer, ShownTool, shown_servers, shown_tools
from services.admin.console.templates import Templates
from services.admin.console.traffic import Traffic
from services.admin.console.traffic_view import shown_traffic
from services.admin.errors import StoreUnavailableError
from services.admin.rollouts.control import RolloutControl
from services.admin.rollouts.rollout import Rollout
from services.admin.rollouts.survey import Fleetwatch
from services.admin.servers import Servers
from services.runtime.bus import Bus
from services.runtime.fleet import Fleet
from services.runtime.replicas import Replicas

PANELS: Final = ("summary", "rollouts", "traffic", "fleet", "breakers", "cache", "audit")
"""As they stand on the page."""
_FRESH_S: Final = 0.9
_SHOWN_ROLLOUTS: Final = 8


@dataclass(frozen=True, slots=True)
class Sources:
    """Where it is looked up."""

    bus: Bus
    fleet: Fleet
    replicas: Replicas
    servers: Servers
    watch: Fleetwatch
    breakers: BreakerControl
    rollouts: RolloutControl
    cache: CacheControl
    traffic: Traffic
    audit: AuditTail


class Board:
    """Looks, and renders what it sees."""

    def __init__(self, sources: Sources, templates: Templates, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._sources = sources
        self._templates = templates
        self._clock = clock
        self._turn = asyncio.Lock()
        self._panels: Mapping[str, str] = {}
        self._rendered_at = float("-inf")

    async def panels(self, *, at_once: bool = False) -> Mapping[str, str]:
        """Return the HTML of each panel, by name; nobody's alone, so it holds no token. `at_once`: what is true now."""
        async with self._turn:
            if at_once or self._clock() - self._rendered_at >= _FRESH_S:
                self._panels = await self._render()
                self._rendered_at = self._clock()
            return self._panels

    def tools(self, server: str) -> list[ShownTool]:
        """Return what a server offers."""
        return shown_tools(server, self._sources.fleet)

    async def _render(self) -> Mapping[str, str]:
        sources = self._sources
        servers = shown_servers(sources.servers, sources.fleet, sources.watch)
        rollouts = await self._rollouts()
        seen = {
            "servers": servers,
            "is_bus_away": not sources.bus.connected,
            "orchestrators": len(sources.replicas.instances()),
            "rollouts": rollouts,
            "traffic": shown_traffic(sources.traffic),
            "breakers": _by_server(sources.breakers.breakers()),
            "counts": sources.replicas.cache_counts(),
            "cache": await self._cache(),
            "audit": await sources.audit.look(),
            "movable": _movable(servers, rollouts or ()),
        }
        return {name: self._templates.render(f"panels/{name}.html", **seen).strip() for name in PANELS}

    async def _rollouts(self) -> Sequence[Rollout] | None:
        """Those that go on and the last that ended; None: the store does not answer."""
        try:
            return (await self._sources.rollouts.all())[:_SHOWN_ROLLOUTS]
        except StoreUnavailableError:
            return None

    async def _cache(self) -> CacheStatistics | None:
        try:
            return await self._sources.cache.statistics()
        except StoreUnavailableError:
            return None


def _by_server(breakers: Sequence[Breaker]) -> list[tuple[str, list[Breaker]]]:
    return [(server, list(own)) for server, own in groupby(breakers, key=lambda breaker: breaker.server)]


def _movable(servers: Sequence[ShownServer], rollouts: Sequence[Rollout]) -> dict[str, list[str]]:
    """The versions that each server may be moved to now: one rollout at a time."""
    moving = {rollout.server for rollout in rollouts if not rollout.state.is_over}
    return {server.name: [] if server.name in moving else server.others for server in servers}
