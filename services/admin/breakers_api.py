"""HTTP, with an admin key: GET /v1/breakers, POST /v1/breakers/{server}/isolate and reset → breakers."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from bus_schemas.breakers import BreakerState
from bus_schemas.errors import ErrorCode
from bus_schemas.names import ServerName
from services.admin.auditing import AuditedRoute, audit_also
from services.admin.bodies import BODY_ERRORS, Body, Reason, described, reading_body
from services.admin.breakers import BreakerControl
from services.admin.moments import moment
from services.admin.state import admin, state_of
from services.admin.telling import TellReport, telling_responses, told
from services.runtime.openapi import problems
from services.runtime.replicas import Acknowledgements

_ALWAYS = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.MISDIRECTED_REQUEST,
    ErrorCode.BUS_UNAVAILABLE,
    ErrorCode.INTERNAL,
)
_OF_ORDERS = telling_responses(
    TellReport, *_ALWAYS, *BODY_ERRORS, ErrorCode.SERVER_NOT_FOUND, ErrorCode.AUDIT_UNAVAILABLE
)

router = APIRouter(prefix="/v1/breakers", tags=["breakers"], dependencies=[Depends(admin)], route_class=AuditedRoute)


class ListedBreaker(BaseModel):
    """The breaker of one version of one server."""

    server: str
    version: str
    state: BreakerState
    opened_at: datetime | None
    by: str | None = Field(description="The orchestrator that opened it, or `admin`.")


class BreakerList(BaseModel):
    """Those of every live version, and others as long as they refuse calls."""

    breakers: list[ListedBreaker]


class Isolation(Body):
    """Why, and for how long."""

    reason: Reason
    for_s: float = Field(
        strict=True, ge=1, le=86_400, allow_inf_nan=False, description="After so many seconds the breakers are closed."
    )


class Reset(Body):
    """Why."""

    reason: Reason


def _breakers(request: Request) -> BreakerControl:
    return state_of(request).breakers


BreakersOf = Annotated[BreakerControl, Depends(_breakers)]


@router.get("", summary="The breakers, as all orchestrators know them", responses=problems(*_ALWAYS))
async def breakers(control: BreakersOf) -> BreakerList:
    return BreakerList(
        breakers=[
            ListedBreaker(
                server=breaker.server,
                version=breaker.version,
                state=breaker.state,
                opened_at=moment(breaker.opened_at),
                by=breaker.by,
            )
            for breaker in await control.ask()
        ]
    )


@router.post(
    "/{server}/isolate",
    name="isolate_server",
    summary="Let no call through to any version of a server, for a time",
    responses=_OF_ORDERS,
    response_model=TellReport,
    openapi_extra=described(Isolation),
)
async def isolate(
    request: Request,
    control: BreakersOf,
    server: ServerName,
    body: Annotated[Isolation, Depends(reading_body(Isolation))],
) -> Response:
    audit_also(request, reason=body.reason, for_s=f"{body.for_s:g}")
    return _answer(await control.isolate(server, for_s=body.for_s, reason=body.reason))


@router.post(
    "/{server}/reset",
    name="reset_breakers",
    summary="Close the breakers of every version of a server",
    responses=_OF_ORDERS,
    response_model=TellReport,
    openapi_extra=described(Reset),
)
async def reset(
    request: Request,
    control: BreakersOf,
    server: ServerName,
    body: Annotated[Reset, Depends(reading_body(Reset))],
) -> Response:
    audit_also(request, reason=body.reason)
    return _answer(await control.reset(server, reason=body.reason))


def _answer(acknowledgements: Acknowledgements) -> Response:
    return told(TellReport(acknowledged_by=acknowledgements.by, missing=acknowledgements.missing))
