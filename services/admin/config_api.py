"""HTTP, with an admin key: POST /v1/config/reload → reloading."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from bus_schemas.errors import ErrorCode
from services.admin.auditing import AuditedRoute
from services.admin.reloading import ConfigControl
from services.admin.state import admin, state_of
from services.runtime.openapi import problems


class ReloadReport(BaseModel):
    """What is in force now, and which processes say so."""

    applied: bool = Field(
        description="False: a live orchestrator or the supervisor was silent, and nothing was changed."
    )
    added: list[str]
    removed: list[str]
    changed: list[str] = Field(description="Servers whose policy, or way to be reached, is another.")
    undeployed: list[str] = Field(description="Servers whose version in the file waits for `busbar deploy`.")
    acknowledged_by: list[str]
    missing: list[str] = Field(description="Live processes that did not say in time that they have obeyed.")


_MISSING = {"model": ReloadReport, "description": "Not every process has acknowledged it"}
_ERRORS = problems(
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.MISDIRECTED_REQUEST,
    ErrorCode.INVALID_CONFIG,
    ErrorCode.BUS_UNAVAILABLE,
    ErrorCode.AUDIT_UNAVAILABLE,
    ErrorCode.INTERNAL,
)

router = APIRouter(prefix="/v1/config", tags=["config"], dependencies=[Depends(admin)], route_class=AuditedRoute)


def _config(request: Request) -> ConfigControl:
    return state_of(request).config


@router.post(
    "/reload",
    name="reload_config",
    summary="Let every process read its configuration anew: all of them, or none",
    responses={**_ERRORS, 504: _MISSING},
    response_model=ReloadReport,
)
async def reload_config(config: Annotated[ConfigControl, Depends(_config)]) -> Response:
    reload = await config.reload()
    report = ReloadReport(
        applied=reload.is_applied,
        added=reload.added,
        removed=reload.removed,
        changed=reload.changed,
        undeployed=reload.undeployed,
        acknowledged_by=reload.acknowledged_by,
        missing=reload.missing,
    )
    return Response(report.model_dump_json(), 504 if reload.missing else 200, media_type="application/json")
