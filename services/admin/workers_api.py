"""HTTP, with an admin key: GET /v1/workers, POST /v1/workers/{instance}/drain → workers."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from bus_schemas.errors import ErrorCode
from bus_schemas.names import InstanceId
from bus_schemas.workers import WorkerState
from services.admin.auditing import AuditedRoute
from services.admin.moments import moment
from services.admin.state import admin, state_of
from services.admin.workers import WorkerControl
from services.runtime.openapi import problems

_ALWAYS = (ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN, ErrorCode.MISDIRECTED_REQUEST, ErrorCode.INTERNAL)
_OF_DRAIN = problems(
    *_ALWAYS,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.WORKER_NOT_FOUND,
    ErrorCode.TIMEOUT,
    ErrorCode.BUS_UNAVAILABLE,
    ErrorCode.AUDIT_UNAVAILABLE,
)

router = APIRouter(prefix="/v1/workers", tags=["fleet"], dependencies=[Depends(admin)], route_class=AuditedRoute)


class ListedWorker(BaseModel):
    """One live worker."""

    instance: str
    server: str
    version: str
    state: WorkerState
    in_flight: int
    started_at: datetime


class WorkerList(BaseModel):
    """Every live worker, by server, version and age."""

    workers: list[ListedWorker]


class DrainingWorker(BaseModel):
    """Which worker leaves when it has answered what it has."""

    instance: str
    server: str
    version: str


def _workers(request: Request) -> WorkerControl:
    return state_of(request).workers


WorkersOf = Annotated[WorkerControl, Depends(_workers)]


@router.get("", summary="Every live worker", responses=problems(*_ALWAYS))
async def workers(control: WorkersOf) -> WorkerList:
    return WorkerList(
        workers=[
            ListedWorker(
                instance=report.instance,
                server=report.server,
                version=report.version,
                state=report.state,
                in_flight=report.in_flight,
                started_at=moment(report.started_at),
            )
            for report in control.reports()
        ]
    )


@router.post(
    "/{instance}/drain",
    name="drain_worker",
    status_code=202,
    summary="Let a worker finish what it has, leave and exit",
    description="Its supervisor does not start it again. 202: it has acknowledged the order.",
    responses=_OF_DRAIN,
)
async def drain(control: WorkersOf, instance: InstanceId) -> DrainingWorker:
    report = await control.drain(instance)
    return DrainingWorker(instance=report.instance, server=report.server, version=report.version)
