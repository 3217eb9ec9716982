"""What a request finds in the running orchestrator: the one place where the lifespan's state gets its type."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.types import Scope

from services.orchestrator.admission import Admission
from services.orchestrator.lists import Lists
from services.orchestrator.query import QueryService
from services.runtime.auth.principals import Principal


@dataclass(frozen=True, slots=True)
class OrchestratorState:
    """Built by `app`, in its lifespan."""

    queries: QueryService
    admission: Admission
    lists: Lists
    authenticate: Callable[[str | None, Iterable[str]], Awaitable[Principal]]
    """Takes the Authorization header and the names of all headers; raises UnauthorizedError, ForbiddenError or
    IssuerUnavailableError."""


def state_of(scope: Scope) -> OrchestratorState:
    state: OrchestratorState = scope["state"]["orchestrator"]
    return state
