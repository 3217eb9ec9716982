"""Every server as an operator sees it: its versions, their workers and breakers, and whether it is taken out."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Literal

from pydantic import BaseModel, Field

from bus_schemas.breakers import BreakerState
from bus_schemas.workers import WorkerState
from services.admin.breakers import Breaker, BreakerControl
from services.admin.known_servers import KnownServers
from services.admin.moments import moment
from services.admin.workers import WorkerControl
from services.runtime.fleet import Report
from services.runtime.maintenance import MaintenanceWords


class ServerError(StrEnum):
    """Why no worker has a working session with a server: its workers' own words, and one for having none."""

    CONNECTION_TIMEOUT = "Connection timeout"
    CONNECTION_REFUSED = "Connection refused"
    PROCESS_EXITED = "Process exited"
    PROTOCOL_ERROR = "Protocol error"
    NOT_RESPONDING = "Not responding"
    NO_LIVE_WORKER = "No live worker"


class VersionBreaker(BaseModel):
    """The breaker of one version."""

    state: BreakerState
    opened_at: datetime | None
    until: datetime | None = Field(description="When it is probed, or an isolation is over.")
    by: str | None = Field(description="The orchestrator that opened it, or `admin`.")
    reason: str


class ListedVersion(BaseModel):
    """One version that has a live worker."""

    version: str
    workers: int = Field(description="That are alive.")
    serving: int = Field(description="Of these, those that take queries.")
    in_flight: int = Field(description="Calls, as of the workers' last heartbeats.")
    breaker: VersionBreaker


class Maintenance(BaseModel):
    """An operator has taken the server out."""

    until: datetime | None = Field(description="When it is back by itself; null: when somebody puts it back.")
    reason: str
    since: datetime


class ListedServer(BaseModel):
    """One server. Breakers and maintenance are beside its status, which is that of its workers' sessions."""

    name: str
    status: Literal["connected", "disconnected"] = Field(description="Whether a worker has a working session with it.")
    error: ServerError | None = Field(description="Why it is disconnected.")
    in_flight: int
    versions: list[ListedVersion]
    maintenance: Maintenance | None


class Servers:
    """Puts together what is known of servers."""

    def __init__(
        self, known: KnownServers, workers: WorkerControl, breakers: BreakerControl, maintenance: MaintenanceWords
    ) -> None:
        self._known = known
        self._workers = workers
        self._breakers = breakers
        self._maintenance = maintenance

    def listed(self) -> list[ListedServer]:
        """Return every server that is configured, has a live worker or is taken out, by name."""
        breakers = {(breaker.server, breaker.version): breaker for breaker in self._breakers.breakers()}
        reports = groupby(self._workers.reports(), key=lambda report: report.server)
        live = {server: list(of_server) for server, of_server in reports}
        names = sorted({*self._known.listed(), *self._maintenance.out()})
        return [self._server(name, live.get(name, []), breakers) for name in names]

    def _server(self, name: str, reports: Collection[Report], breakers: dict[tuple[str, str], Breaker]) -> ListedServer:
        error = why_disconnected(reports)
        by_version = groupby(reports, key=lambda report: report.version)
        return ListedServer(
            name=name,
            status="connected" if error is None else "disconnected",
            error=error,
            in_flight=sum(report.in_flight for report in reports),
            versions=[_version(version, list(one), breakers[name, version]) for version, one in by_version],
            maintenance=self._maintenance_of(name),
        )

    def _maintenance_of(self, server: str) -> Maintenance | None:
        word = self._maintenance.of(server)
        if word is None:
            return None
        return Maintenance(until=moment(word.until), reason=word.reason, since=moment(word.updated_at))


def why_disconnected(reports: Collection[Report]) -> ServerError | None:
    """Return what most of a server's workers ran into, of equals the first by name; None: one of them serves."""
    if any(report.state is WorkerState.SERVING for report in reports):
        return None
    faults = Counter(report.fault.value for report in reports if report.fault is not None)
    if not faults:
        return ServerError.NO_LIVE_WORKER
    return ServerError(min(faults, key=lambda fault: (-faults[fault], fault)))


def _version(version: str, reports: Collection[Report], breaker: Breaker) -> ListedVersion:
    return ListedVersion(
        version=version,
        workers=len(reports),
        serving=sum(report.state is WorkerState.SERVING for report in reports),
        in_flight=sum(report.in_flight for report in reports),
        breaker=VersionBreaker(
            state=breaker.state,
            opened_at=moment(breaker.opened_at),
            until=moment(breaker.until),
            by=breaker.by,
            reason=breaker.reason,
        ),
    )
