"""How the fleet is at one moment, as far as orchestrator, health and admin tell."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from services.cli.errors import CommandError, ProblemError
from services.cli.http_client import ask
from services.cli.location import Endpoint, System

_TIMEOUT_S = 2.0

DocumentT = TypeVar("DocumentT", bound=BaseModel)


class ListedVersion(BaseModel):
    """A live version of a server."""

    version: str
    weight: float
    instances: int


class ListedServer(BaseModel):
    """A server as the orchestrator sees it."""

    name: str
    status: str
    versions: list[ListedVersion]
    tools: int


class ServerList(BaseModel):
    """The body of GET /v1/servers."""

    servers: list[ListedServer]


class ServerHealth(BaseModel):
    """A server as the health service sees it; `error` is the word for why it is down."""

    status: str
    latency_ms: int | None = None
    error: str | None = None


class CacheStats(BaseModel):
    """Of the shared cache."""

    hit_rate: float = 0.0
    entries: int = 0


class HealthReport(BaseModel):
    """The body of GET /health/mcp."""

    status: str
    mcp_servers: dict[str, ServerHealth]
    cache_stats: CacheStats = CacheStats()


class ListedWorker(BaseModel):
    """A worker as the admin service sees it."""

    instance: str
    server: str
    version: str
    state: str
    in_flight: int
    started_at: datetime


class WorkerList(BaseModel):
    """The body of GET /v1/workers."""

    workers: list[ListedWorker]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What each service told, or None, and why those that told nothing did not."""

    servers: ServerList | None
    health: HealthReport | None
    workers: WorkerList | None
    troubles: tuple[str, ...]

    @property
    def is_blank(self) -> bool:
        """Whether nobody told anything."""
        return self.servers is None and self.health is None and self.workers is None


def take_snapshot(system: System) -> Snapshot:
    """Ask each service that is known, for at most 2 s each; none of them is needed for the others."""
    troubles: list[str] = []
    return Snapshot(
        servers=_ask(system.orchestrator, "/v1/servers", ServerList, troubles),
        # 503 is how the health service says that the fleet is unhealthy.
        health=_ask(system.health, "/health/mcp", HealthReport, troubles, accepts=frozenset({200, 503})),
        workers=_ask(system.admin, "/v1/workers", WorkerList, troubles),
        troubles=tuple(troubles),
    )


def _ask(
    endpoint: Endpoint | None,
    path: str,
    model: type[DocumentT],
    troubles: list[str],
    *,
    accepts: frozenset[int] = frozenset({200}),
) -> DocumentT | None:
    if endpoint is None:
        return None
    try:
        return model.model_validate(ask(endpoint, "GET", path, timeout_s=_TIMEOUT_S, accepts=accepts).document)
    except ValidationError:
        troubles.append(f"the {endpoint.name} does not answer as Busbar does")
    except ProblemError as error:
        troubles.append(f"{endpoint.name}: {error}")
    except CommandError as error:
        troubles.append(str(error))
    return None
