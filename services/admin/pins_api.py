"""HTTP, with an admin key: GET /v1/pins, POST and DELETE /v1/pins/{server}, POST /v1/pins/{server}/accept → pins."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from bus_schemas.errors import ErrorCode
from bus_schemas.names import ServerName
from bus_schemas.pins import DefinitionDigest
from services.admin.auditing import AuditedRoute, audit_also
from services.admin.bodies import BODY_ERRORS, Body, described, reading_body
from services.admin.moments import moment
from services.admin.pins import PinChange, PinControl
from services.admin.state import admin, state_of
from services.admin.telling import TellReport, telling_responses, told
from services.runtime.openapi import problems

_ALWAYS = (ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN, ErrorCode.MISDIRECTED_REQUEST, ErrorCode.INTERNAL)
_CHANGING = (*_ALWAYS, ErrorCode.BUS_UNAVAILABLE, ErrorCode.AUDIT_UNAVAILABLE, ErrorCode.INVALID_REQUEST)

router = APIRouter(prefix="/v1/pins", tags=["pins"], dependencies=[Depends(admin)], route_class=AuditedRoute)


class ListedQuarantine(BaseModel):
    """A tool that is neither listed nor called."""

    tool: str
    version: str
    change: Literal["changed", "new"] = Field(description="Whether it has a pin that it is held against.")
    digest: str = Field(description="By which this definition is accepted.")
    definition: dict[str, Any] = Field(description="As the server announces it now. Nobody has vetted it.")


class ListedPins(BaseModel):
    """A server whose definitions are pinned."""

    server: str
    pinned_at: datetime = Field(description="Since when the pins are what they are.")
    by: str = Field(description="The admin service that was asked.")
    tools: int = Field(description="That are pinned.")
    quarantined: list[ListedQuarantine]


class PinList(BaseModel):
    """Every server whose definitions are pinned, by name."""

    pins: list[ListedPins]


class PinReport(TellReport):
    """Who goes by it from now on."""

    retained: bool = Field(
        description="Whether the store has it. If not, it is lost when all processes end before the store is back."
    )
    tools: int = Field(description="That are pinned now.")


_ToolName = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Acceptance(Body):
    """Which definitions."""

    tools: dict[_ToolName, DefinitionDigest] = Field(
        min_length=1, max_length=1000, description="By name, the digests of the definitions that were looked at."
    )


def _pins(request: Request) -> PinControl:
    return state_of(request).pins


PinsOf = Annotated[PinControl, Depends(_pins)]


@router.get(
    "", summary="The servers whose definitions are pinned, and what is in quarantine", responses=problems(*_ALWAYS)
)
async def pins(control: PinsOf) -> PinList:
    return PinList(
        pins=[
            ListedPins(
                server=one.server,
                pinned_at=moment(one.pinned_at),
                by=one.by,
                tools=one.tools,
                quarantined=[ListedQuarantine(**asdict(tool)) for tool in one.quarantined],
            )
            for one in control.listed()
        ]
    )


@router.post(
    "/{server}",
    name="pin_definitions",
    summary="Pin the definitions of the tools that a server announces now",
    responses=telling_responses(PinReport, *_CHANGING, ErrorCode.SERVER_NOT_FOUND, ErrorCode.SERVER_UNAVAILABLE),
    response_model=PinReport,
)
async def pin(control: PinsOf, server: ServerName) -> Response:
    return _answer(await control.pin(server))


@router.post(
    "/{server}/accept",
    name="accept_definitions",
    summary="Accept other definitions, by their digests",
    responses=telling_responses(PinReport, *_CHANGING, *BODY_ERRORS, ErrorCode.PIN_NOT_FOUND),
    response_model=PinReport,
    openapi_extra=described(Acceptance),
)
async def accept(
    request: Request,
    control: PinsOf,
    server: ServerName,
    body: Annotated[Acceptance, Depends(reading_body(Acceptance))],
) -> Response:
    audit_also(request, tools=", ".join(f"{tool}={digest[:12]}" for tool, digest in sorted(body.tools.items())))
    return _answer(await control.accept(server, body.tools))


@router.delete(
    "/{server}",
    name="unpin_definitions",
    summary="Let a server's tools have any definition",
    responses=telling_responses(PinReport, *_CHANGING, ErrorCode.PIN_NOT_FOUND),
    response_model=PinReport,
)
async def unpin(control: PinsOf, server: ServerName) -> Response:
    return _answer(await control.unpin(server))


def _answer(change: PinChange) -> Response:
    who = change.acknowledgements
    return told(PinReport(acknowledged_by=who.by, missing=who.missing, retained=change.is_retained, tools=change.tools))
