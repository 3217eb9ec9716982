"""HTTP, with an admin key: GET and POST /v1/rollouts, and orders to one of them → control."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from bus_schemas.errors import ErrorCode
from services.admin.auditing import AuditedRoute, audit_also
from services.admin.bodies import BODY_ERRORS, described, reading_body
from services.admin.rollouts.control import RolloutControl
from services.admin.rollouts.plan import pause, promote, resume, roll_back
from services.admin.rollouts.rollout import RolloutOrder, RolloutReport
from services.admin.state import admin, state_of
from services.runtime.openapi import problems

_ALWAYS = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.MISDIRECTED_REQUEST,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.INTERNAL,
)
_OF_CHANGES = (*_ALWAYS, ErrorCode.ROLLOUT_CONFLICT, ErrorCode.BUS_UNAVAILABLE, ErrorCode.AUDIT_UNAVAILABLE)
_OF_START = problems(*_OF_CHANGES, *BODY_ERRORS, ErrorCode.SERVER_NOT_FOUND, ErrorCode.VERSION_NOT_FOUND)
_OF_ONE = (ErrorCode.INVALID_REQUEST, ErrorCode.ROLLOUT_NOT_FOUND)

router = APIRouter(prefix="/v1/rollouts", tags=["rollouts"], dependencies=[Depends(admin)], route_class=AuditedRoute)


class RolloutList(BaseModel):
    """Those that go on and the last that ended, the newest first."""

    rollouts: list[RolloutReport]


def _rollouts(request: Request) -> RolloutControl:
    return state_of(request).rollouts


RolloutsOf = Annotated[RolloutControl, Depends(_rollouts)]
RolloutId = Annotated[str, Path(alias="id", min_length=1, max_length=64, description="As the answer to POST gave it.")]


@router.get("", summary="Every rollout", responses=problems(*_ALWAYS))
async def rollouts(control: RolloutsOf) -> RolloutList:
    return RolloutList(rollouts=[rollout.report() for rollout in await control.all()])


@router.get("/{id}", summary="One rollout", responses=problems(*_ALWAYS, *_OF_ONE))
async def rollout(control: RolloutsOf, rollout_id: RolloutId) -> RolloutReport:
    return (await control.one(rollout_id)).report()


@router.post(
    "",
    name="start_rollout",
    status_code=201,
    summary="Move a server's queries to another version, step by step",
    responses=_OF_START,
    openapi_extra=described(RolloutOrder),
)
async def start(
    request: Request, control: RolloutsOf, order: Annotated[RolloutOrder, Depends(reading_body(RolloutOrder))]
) -> RolloutReport:
    audit_also(request, server=order.server, to_version=order.to_version)
    return (await control.start(order)).report()


@router.post(
    "/{id}/pause",
    name="pause_rollout",
    summary="Stay at the weights as they are; a version that fails goes back all the same",
    responses=problems(*_OF_CHANGES, *_OF_ONE),
)
async def pause_one(control: RolloutsOf, rollout_id: RolloutId) -> RolloutReport:
    return (await control.obey(rollout_id, pause)).report()


@router.post(
    "/{id}/resume",
    name="resume_rollout",
    summary="Go on, with the step from its beginning",
    responses=problems(*_OF_CHANGES, *_OF_ONE),
)
async def resume_one(control: RolloutsOf, rollout_id: RolloutId) -> RolloutReport:
    return (await control.obey(rollout_id, resume)).report()


@router.post(
    "/{id}/promote",
    name="promote_rollout",
    summary="Give the new version everything now, and let the old one's workers leave",
    responses=problems(*_OF_CHANGES, *_OF_ONE),
)
async def promote_one(control: RolloutsOf, rollout_id: RolloutId) -> RolloutReport:
    return (await control.obey(rollout_id, promote)).report()


@router.post(
    "/{id}/rollback",
    name="roll_back_rollout",
    summary="Give the old version everything again now",
    responses=problems(*_OF_CHANGES, *_OF_ONE),
)
async def roll_back_one(control: RolloutsOf, rollout_id: RolloutId) -> RolloutReport:
    return (await control.obey(rollout_id, roll_back)).report()
