"""The health report of the fleet, and which status follows from it. Pure: what is known comes in as arguments."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

NO_LIVE_WORKER = "No live worker"
BUS_UNREACHABLE = "Bus unreachable"


def _utc_seconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Moment = Annotated[datetime, PlainSerializer(_utc_seconds, when_used="json")]


class Status(StrEnum):
    """How the fleet does as a whole."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class _Exact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Connected(_Exact):
    """At least one live worker has a working session with the server."""

    status: Literal["connected"] = "connected"
    latency_ms: int = Field(description="Of the last MCP round trip measured in the background.")
    last_check: Moment


class Disconnected(_Exact):
    """No live worker has a working session with the server."""

    status: Literal["disconnected"] = "disconnected"
    error: str
    last_check: Moment


class CacheStats(_Exact):
    """Of the shared cache; zero where there is nothing yet, or no store."""

    hit_rate: float = 0.0
    entries: int = 0


NO_CACHE = CacheStats()


class HealthReport(_Exact):
    """The body of GET /health/mcp: exactly these fields."""

    status: Status
    mcp_servers: dict[str, Connected | Disconnected]
    cache_stats: CacheStats


@dataclass(frozen=True, slots=True)
class WorkerFinding:
    """What one live worker says of its server."""

    is_serving: bool
    latency_ms: float | None
    checked_at: float | None
    """Seconds since 1970."""
    fault: str | None


def report_health(
    servers: Collection[str],
    findings: Mapping[str, Collection[WorkerFinding]],
    *,
    cache: CacheStats = NO_CACHE,
    is_bus_up: bool,
    now: float,
) -> HealthReport:
    """Return the report on `servers`.

    Args:
        servers: every configured server, seen or not.
        findings: by server, of its live workers.
        cache: what was counted last.
        is_bus_up: without the bus nothing is known any more.
        now: seconds since 1970; when what was never checked was last looked at.
    """
    listed = {server: _server(findings.get(server, ()), is_bus_up=is_bus_up, now=now) for server in servers}
    down = sum(isinstance(server, Disconnected) for server in listed.values())
    return HealthReport(status=_status(down, len(listed), is_bus_up), mcp_servers=listed, cache_stats=cache)


def _status(down: int, servers: int, is_bus_up: bool) -> Status:
    if not is_bus_up or down * 2 > servers:
        return Status.UNHEALTHY
    return Status.DEGRADED if down else Status.HEALTHY


def _server(findings: Collection[WorkerFinding], *, is_bus_up: bool, now: float) -> Connected | Disconnected:
    checked = datetime.fromtimestamp(max((one.checked_at or 0.0 for one in findings), default=0.0) or now, UTC)
    if not is_bus_up:
        return Disconnected(error=BUS_UNREACHABLE, last_check=checked)
    serving = [one for one in findings if one.is_serving]
    if serving:
        latency_ms = min((one.latency_ms for one in serving if one.latency_ms is not None), default=0.0)
        return Connected(latency_ms=round(latency_ms), last_check=checked)
    faults = [one.fault for one in findings if one.fault is not None]
    return Disconnected(error=faults[0] if faults else NO_LIVE_WORKER, last_check=checked)
