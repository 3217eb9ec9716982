"""The health report of the fleet, and which status follows from it. Pure: what is known comes in as arguments."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


def _utc_seconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Moment = Annotated[datetime, PlainSerializer(_utc_seconds, when_used="json")]


class Status(StrEnum):
    """How the fleet does as a whole."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Reason(StrEnum):
    """Why a server is disconnected; the first five are workers' own words (`bus_schemas.workers.ServerFault`)."""

    CONNECTION_TIMEOUT = "Connection timeout"
    CONNECTION_REFUSED = "Connection refused"
    PROCESS_EXITED = "Process exited"
    PROTOCOL_ERROR = "Protocol error"
    NOT_RESPONDING = "Not responding"
    CIRCUIT_OPEN = "Circuit open"
    NO_LIVE_WORKER = "No live worker"
    MAINTENANCE = "Maintenance"
    BUS_UNREACHABLE = "Bus unreachable"


class _Exact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Connected(_Exact):
    """At least one live worker has a working session with the server."""

    status: Literal["connected"] = "connected"
    latency_ms: int = Field(description="Of the last MCP round trip measured in the background.")
    last_check: Moment


class Disconnected(_Exact):
    """Nobody can be answered by the server now."""

    status: Literal["disconnected"] = "disconnected"
    error: Reason
    last_check: Moment


class CacheStats(_Exact):
    """Of the shared cache; zero where there is nothing yet, or no store."""

    hit_rate: float = 0.0
    entries: int = 0


NO_CACHE: Final = CacheStats()


class HealthReport(_Exact):
    """The body of GET /health/mcp: exactly these fields."""

    status: Status
    mcp_servers: dict[str, Connected | Disconnected]
    cache_stats: CacheStats


@dataclass(frozen=True, slots=True)
class WorkerFinding:
    """What one live worker says of its server."""

    version: str
    is_serving: bool
    latency_ms: float | None
    checked_at: float | None
    """Seconds since 1970."""
    fault: str | None
    """A word of `Reason`."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known at one moment."""

    findings: Mapping[str, Collection[WorkerFinding]]
    """By server, of its live workers."""
    is_bus_up: bool
    """Without the bus nothing is known any more."""
    open_circuits: Collection[tuple[str, str]] = frozenset()
    """(server, version) whose breaker is open in every live orchestrator."""
    in_maintenance: Collection[str] = frozenset()
    """Servers that an operator has taken out."""
    cache: CacheStats = NO_CACHE


def report_health(servers: Collection[str], known: Known, *, now: float) -> HealthReport:
    """Return the report on `servers`: every configured one, seen or not.

    Args:
        servers: their names.
        known: equal knowledge makes equal reports, in whichever order it came.
        now: seconds since 1970; when what was never checked was last looked at.
    """
    listed = {server: _server(server, known, now) for server in servers}
    down = down_share(listed)
    return HealthReport(status=_status(down, is_bus_up=known.is_bus_up), mcp_servers=listed, cache_stats=known.cache)


def down_share(listed: Mapping[str, Connected | Disconnected]) -> float:
    """Return the share of servers that are disconnected, 0 to 1; those in maintenance are not counted."""
    counted = [one for one in listed.values() if not is_in_maintenance(one)]
    return sum(isinstance(one, Disconnected) for one in counted) / max(1, len(counted))


def is_in_maintenance(server: Connected | Disconnected) -> bool:
    """Whether it is out because an operator wants it out."""
    return isinstance(server, Disconnected) and server.error is Reason.MAINTENANCE


def _status(down: float, *, is_bus_up: bool) -> Status:
    if not is_bus_up or down > 0.5:
        return Status.UNHEALTHY
    return Status.DEGRADED if down else Status.HEALTHY


def _server(server: str, known: Known, now: float) -> Connected | Disconnected:
    findings = known.findings.get(server, ())
    checked = datetime.fromtimestamp(max((one.checked_at or 0.0 for one in findings), default=0.0) or now, UTC)
    if (reason := _reason(server, findings, known)) is not None:
        return Disconnected(error=reason, last_check=checked)
    measured = [one.latency_ms for one in findings if one.is_serving and one.latency_ms is not None]
    return Connected(latency_ms=round(min(measured, default=0.0)), last_check=checked)


def _reason(server: str, findings: Collection[WorkerFinding], known: Known) -> Reason | None:
    if not known.is_bus_up:
        return Reason.BUS_UNREACHABLE
    if server in known.in_maintenance:
        return Reason.MAINTENANCE
    serving = {one.version for one in findings if one.is_serving}
    if not serving:
        return _commonest_fault(findings)
    if all((server, version) in known.open_circuits for version in serving):
        return Reason.CIRCUIT_OPEN
    return None


def _commonest_fault(findings: Collection[WorkerFinding]) -> Reason:
    """Return what most workers ran into; of equals the first by name, so that every replica tells the same."""
    counts = Counter(one.fault for one in findings if one.fault is not None)
    if not counts:
        return Reason.NO_LIVE_WORKER
    return Reason(min(counts, key=lambda fault: (-counts[fault], fault)))
