"""What a request finds in the running admin service: the one place where the lifespan's state gets its type."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.admin.access import Access
from services.admin.audit import Audit
from services.admin.breakers import BreakerControl
from services.admin.cache import CacheControl
from services.admin.console.console import Console
from services.admin.maintenance import MaintenanceControl
from services.admin.pins import PinControl
from services.admin.reloading import ConfigControl
from services.admin.rollouts.control import RolloutControl
from services.admin.servers import Servers
from services.admin.workers import WorkerControl
from services.runtime.auth.principals import Principal

_KEY = HTTPBearer(auto_error=False, scheme_name="key", description="A key with the scope `admin`.")


@dataclass(frozen=True, slots=True)
class AdminState:
    """Built by `app`, in its lifespan."""

    access: Access
    audit: Audit
    servers: Servers
    workers: WorkerControl
    breakers: BreakerControl
    maintenance: MaintenanceControl
    pins: PinControl
    cache: CacheControl
    config: ConfigControl
    rollouts: RolloutControl
    console: Console


def state_of(request: Request) -> AdminState:
    state: AdminState = request.state.admin
    return state


async def admin(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_KEY)]) -> Principal:
    """Who asks; the second argument only lets the OpenAPI document say so. Raises UnauthorizedError, ForbiddenError."""
    return await state_of(request).access.admit(request)
