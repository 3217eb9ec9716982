"""HTTP, with an admin key: POST and DELETE /v1/servers/{server}/maintenance → maintenance."""

import re
import time
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BeforeValidator, Field

from bus_schemas.errors import ErrorCode, FieldError
from bus_schemas.maintenance import LATEST_S
from bus_schemas.names import ServerName
from services.admin.auditing import AuditedRoute, audit_also
from services.admin.bodies import BODY_ERRORS, Body, Reason, described, reading_body
from services.admin.maintenance import MaintenanceChange, MaintenanceControl
from services.admin.state import admin, state_of
from services.admin.telling import TellReport, telling_responses, told
from services.runtime.errors import InvalidRequestError

_RFC_3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})\Z")


def _written_out(until: object) -> object:
    """Refuse the numbers, and forms without an offset, that a datetime is read from, too."""
    if until is not None and not (isinstance(until, str) and _RFC_3339.match(until)):
        raise ValueError("not a moment of RFC 3339")
    return until


Until = Annotated[AwareDatetime, BeforeValidator(_written_out)]


class MaintenanceReport(TellReport):
    """Who goes by it from now on."""

    retained: bool = Field(
        description="Whether the store has it. If not, it is lost when all processes end before the store is back."
    )


class TakingOut(Body):
    """Why, and until when."""

    reason: Reason
    until: Until | None = Field(default=None, description="When the server is back by itself; null: not by itself.")


_ALWAYS = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.MISDIRECTED_REQUEST,
    ErrorCode.SERVER_NOT_FOUND,
    ErrorCode.BUS_UNAVAILABLE,
    ErrorCode.AUDIT_UNAVAILABLE,
    ErrorCode.INTERNAL,
)

router = APIRouter(
    prefix="/v1/servers/{server}/maintenance",
    tags=["fleet"],
    dependencies=[Depends(admin)],
    route_class=AuditedRoute,
)


def _maintenance(request: Request) -> MaintenanceControl:
    return state_of(request).maintenance


MaintenanceOf = Annotated[MaintenanceControl, Depends(_maintenance)]


@router.post(
    "",
    name="begin_maintenance",
    summary="Take a server out: its queries go to its alternates, or are refused with `maintenance`",
    responses=telling_responses(MaintenanceReport, *_ALWAYS, *BODY_ERRORS),
    response_model=MaintenanceReport,
    openapi_extra=described(TakingOut),
)
async def begin(
    request: Request,
    control: MaintenanceOf,
    server: ServerName,
    body: Annotated[TakingOut, Depends(reading_body(TakingOut))],
) -> Response:
    audit_also(request, reason=body.reason, until="" if body.until is None else body.until.isoformat())
    until = None if body.until is None else _seconds(body.until)
    return _answer(await control.take_out(server, until=until, reason=body.reason))


@router.delete(
    "",
    name="end_maintenance",
    summary="Put a server back",
    responses=telling_responses(MaintenanceReport, *_ALWAYS, ErrorCode.INVALID_REQUEST),
    response_model=MaintenanceReport,
)
async def end(control: MaintenanceOf, server: ServerName) -> Response:
    return _answer(await control.put_back(server))


def _seconds(until: datetime) -> float:
    """Return it in seconds since 1970. Raises InvalidRequestError: it is over, or too late to be told in UTC."""
    seconds = until.timestamp()
    if seconds <= time.time():
        raise InvalidRequestError(errors=[FieldError(pointer="/until", keyword="minimum")])
    if seconds > LATEST_S:
        raise InvalidRequestError(errors=[FieldError(pointer="/until", keyword="maximum")])
    return seconds


def _answer(change: MaintenanceChange) -> Response:
    who = change.acknowledgements
    return told(MaintenanceReport(acknowledged_by=who.by, missing=who.missing, retained=change.is_retained))
