"""A fleet that knows what a test announces: the real table, fed with workers' own events, without a bus."""

import itertools
from collections.abc import Sequence
from typing import Any, cast

from bus_schemas import subjects
from bus_schemas.workers import (
    Catalogue,
    Definition,
    ServerFault,
    WorkerDraining,
    WorkerEvent,
    WorkerHeartbeat,
    WorkerJoined,
    WorkerLeft,
    WorkerState,
)
from services.runtime.bus import BusMessage
from services.runtime.fleet import Fleet


class AnnouncedFleet:
    """Says what workers would say."""

    def __init__(self) -> None:
        nothing = cast("Any", None)  # a catalogue that is announced need not be asked for
        self.fleet = Fleet(nothing, nothing, clock=lambda: 0.0)
        self._instances = itertools.count(1)
        self._started_at = itertools.count(1)

    async def join(
        self,
        server: str,
        version: str = "1.0.0",
        *,
        tools: Sequence[Definition] = (),
        resources: Sequence[Definition] = (),
        templates: Sequence[Definition] = (),
        prompts: Sequence[Definition] = (),
        started_at: float | None = None,
        state: WorkerState = WorkerState.SERVING,
    ) -> WorkerJoined:
        """Announce a new worker; later ones started later, unless the test says when."""
        offers = Catalogue(
            tools=list(tools),
            resources=list(resources),
            resource_templates=list(templates),
            prompts=list(prompts),
        )
        joined = WorkerJoined(
            server=server,
            version=version,
            instance=f"i{next(self._instances)}",
            state=state,
            started_at=next(self._started_at) if started_at is None else started_at,
            sent_at=0.0,
            catalogue=offers.digest(),
            offers=offers,
        )
        await self._say(joined)
        return joined

    async def beat(
        self,
        worker: WorkerJoined,
        state: WorkerState = WorkerState.SERVING,
        *,
        fault: ServerFault | None = None,
        restarts: int = 0,
    ) -> None:
        """Let it send a heartbeat with its state."""
        report = worker.model_dump(exclude={"event", "offers"})
        await self._say(WorkerHeartbeat(**{**report, "state": state, "fault": fault, "restarts": restarts}))

    async def hold(self, worker: WorkerJoined, *callers: str) -> None:
        """Let it say that it holds sessions of these callers, by their digests."""
        report = worker.model_dump(exclude={"event", "offers"})
        await self._say(WorkerHeartbeat(**{**report, "callers": list(callers)}))

    async def drain(self, worker: WorkerJoined) -> None:
        """Let it say that it drains."""
        await self._say(WorkerDraining(server=worker.server, version=worker.version, instance=worker.instance))

    async def leave(self, worker: WorkerJoined) -> None:
        """Let it say that it has gone."""
        await self._say(WorkerLeft(server=worker.server, version=worker.version, instance=worker.instance))

    async def _say(self, event: WorkerEvent) -> None:
        subject = subjects.worker_event(event.server, event.instance)
        self.fleet.take_event(BusMessage(cast("Any", None), subject=subject, data=event.encode()))
