"""HTTP, with an admin key: GET /v1/workers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from bus_schemas.workers import WorkerState
from services.runtime.auth.principals import Principal
from services.runtime.fleet import Fleet


@dataclass(frozen=True, slots=True)
class AdminState:
    """Built by `app`, in its lifespan."""

    fleet: Fleet
    authenticate: Callable[[str | None], Principal]


def state_of(request: Request) -> AdminState:
    """The one place where the lifespan's state gets its type."""
    state: AdminState = request.state.admin
    return state


def _admin(request: Request) -> Principal:
    """Who asks. Raises UnauthorizedError, ForbiddenError."""
    return state_of(request).authenticate(request.headers.get("authorization"))


def _fleet(request: Request) -> Fleet:
    return state_of(request).fleet


router = APIRouter(prefix="/v1", dependencies=[Depends(_admin)])


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


@router.get("/workers", tags=["fleet"], summary="Every live worker")
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
