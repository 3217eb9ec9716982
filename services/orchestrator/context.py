"""What is known of a query beside its body: what came with it, and how far it has come."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from bus_schemas.queries import CacheUse, Query
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.dispatch import Outcome
from services.orchestrator.forwarding import HeaderValues, no_headers
from services.orchestrator.tracing import NO_TRACE, TraceContext
from services.runtime.auth.principals import Principal


@dataclass(frozen=True, slots=True)
class Context:
    """What comes with a query beside its body."""

    request_id: str
    principal: Principal
    received_at: float
    """By time.monotonic()."""
    trace: TraceContext = NO_TRACE
    headers: HeaderValues = field(default=no_headers, repr=False)
    """The caller's; only those that a server's configuration names are ever looked at."""
    largest_reply_bytes: float = math.inf
    """Of the body; an answer that is larger could not be delivered."""
    idempotency_key: str | None = None
    """As the caller sent it."""
    on_progress: Callable[[bytes], None] | None = None
    """Is given what the server says of the call's progress; see `dispatch.Call`. None: nobody wants to know."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """An old answer of a server, for when nobody gives a new one."""

    version: LiveVersion
    outcome: Outcome


@dataclass(slots=True)
class Course:
    """How far a query has come; what metrics and problems need to know of it when it fails."""

    query: Query | None = None
    server: str | None = None
    attempts: int = 0
    deadline: float = 0.0
    cache: CacheUse = CacheUse.OFF
    stand_in: StandIn | None = None
