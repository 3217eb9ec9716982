"""HTTP, with an admin key: GET /v1/workers."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from bus_schemas.errors import ErrorCode
from bus_schemas.workers import WorkerState
from services.admin.state import admin, state_of
from services.runtime.fleet import Fleet
from services.runtime.openapi import problems

_ERRORS = problems(ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN, ErrorCode.MISDIRECTED_REQUEST, ErrorCode.INTERNAL)


def _fleet(request: Request) -> Fleet:
    return state_of(request).fleet


router = APIRouter(prefix="/v1", dependencies=[Depends(admin)])


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


@router.get("/workers", tags=["fleet"], summary="Every live worker", responses=_ERRORS)
async def workers(fleet: Annotated[Fleet, Depends(_fleet)]) -> WorkerList:
    reports = sorted(
        (worker.report for worker in fleet.workers()),
        key=lambda report: (report.server, report.version, report.started_at),
    )
    return WorkerList(
        workers=[
            ListedWorker(
                instance=report.instance,
                server=report.server,
                version=report.version,
                state=report.state,
                in_flight=report.in_flight,
                started_at=datetime.fromtimestamp(report.started_at, UTC),
            )
            for report in reports
        ]
    )
