"""HTTP, with an admin key: GET /v1/servers ← servers."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from bus_schemas.errors import ErrorCode
from services.admin.auditing import AuditedRoute
from services.admin.servers import ListedServer, Servers
from services.admin.state import admin, state_of
from services.runtime.openapi import problems

_ERRORS = problems(ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN, ErrorCode.MISDIRECTED_REQUEST, ErrorCode.INTERNAL)

router = APIRouter(prefix="/v1", dependencies=[Depends(admin)], route_class=AuditedRoute)


class ServerList(BaseModel):
    """Every server that is configured, has a live worker or is taken out, by name."""

    servers: list[ListedServer]


def _servers(request: Request) -> Servers:
    return state_of(request).servers


@router.get("/servers", tags=["fleet"], summary="Every server, its versions and its state", responses=_ERRORS)
async def servers(known: Annotated[Servers, Depends(_servers)]) -> ServerList:
    return ServerList(servers=known.listed())
