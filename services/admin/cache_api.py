"""HTTP, with an admin key: GET and DELETE /v1/cache → cache."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field

from bus_schemas.errors import ErrorCode
from bus_schemas.names import ServerName
from services.admin.auditing import AuditedRoute
from services.admin.cache import CacheControl
from services.admin.state import admin, state_of
from services.runtime.openapi import problems
from services.runtime.store.cache_keys import EVERYTHING, CacheScope


class ServerEntries(BaseModel):
    """Of one server."""

    entries: int


class CacheReport(BaseModel):
    """What the shared cache holds, and how often it helped."""

    hits: int = Field(description="Of the live orchestrators, each since its start.")
    misses: int
    hit_rate: float = Field(description="0.0 before the first look-up.")
    entries: int = Field(description="Those that are live.")
    servers: dict[str, ServerEntries]


class FlushReport(BaseModel):
    """What was cleared, and which orchestrators answer nothing from before any more."""

    cleared: int = Field(description="Live entries that are invalid now.")
    acknowledged_by: list[str]
    missing: list[str] = Field(description="Live orchestrators that did not say so within 1.5 s.")


_ALWAYS = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.MISDIRECTED_REQUEST,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.BUS_UNAVAILABLE,
    ErrorCode.AUDIT_UNAVAILABLE,
    ErrorCode.INTERNAL,
)
_MISSING = {"model": FlushReport, "description": "Cleared, but not every orchestrator has acknowledged it"}
_OF_ALL: dict[int | str, dict[str, Any]] = {**problems(*_ALWAYS), 504: _MISSING}
_OF_SERVER: dict[int | str, dict[str, Any]] = {
    **problems(*_ALWAYS, ErrorCode.INVALID_REQUEST, ErrorCode.SERVER_NOT_FOUND),
    504: _MISSING,
}

router = APIRouter(prefix="/v1/cache", tags=["cache"], dependencies=[Depends(admin)], route_class=AuditedRoute)


def _cache(request: Request) -> CacheControl:
    return state_of(request).cache


CacheOf = Annotated[CacheControl, Depends(_cache)]
Target = Annotated[str, Path(min_length=1, max_length=8192, description="A tool's name, or a resource's URI.")]


@router.get("", summary="What the cache holds", responses=problems(*_ALWAYS))
async def cache_statistics(cache: CacheOf) -> CacheReport:
    statistics = await cache.statistics()
    return CacheReport(
        hits=statistics.counts.hits,
        misses=statistics.counts.misses,
        hit_rate=statistics.counts.hit_rate,
        entries=sum(statistics.entries.values()),
        servers={server: ServerEntries(entries=entries) for server, entries in sorted(statistics.entries.items())},
    )


@router.delete("", name="clear_cache", summary="Clear all", responses=_OF_ALL, response_model=FlushReport)
async def clear_all(cache: CacheOf) -> Response:
    return await _clear(cache, EVERYTHING)


@router.delete(
    "/{server}",
    name="clear_cache",
    summary="Clear what one server answered",
    responses=_OF_SERVER,
    response_model=FlushReport,
)
async def clear_server(cache: CacheOf, server: ServerName) -> Response:
    return await _clear(cache, CacheScope(server))


@router.delete(
    "/{server}/{tool:path}",
    name="clear_cache",
    summary="Clear what one tool, or one resource, of a server answered",
    responses=_OF_SERVER,
    response_model=FlushReport,
)
async def clear_tool(cache: CacheOf, server: ServerName, tool: Target) -> Response:
    return await _clear(cache, CacheScope(server, tool))


async def _clear(cache: CacheControl, scope: CacheScope) -> Response:
    flush = await cache.flush(scope)
    told = flush.acknowledgements
    report = FlushReport(cleared=flush.cleared, acknowledged_by=told.by, missing=told.missing)
    return Response(report.model_dump_json(), 504 if told.missing else 200, media_type="application/json")
