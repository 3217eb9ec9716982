"""What is known of a query beside its body: what came with it, and how far it has come."""

import math
from collections.abc import Callable

import msgspec

from bus_schemas.errors import ErrorCode
from bus_schemas.queries import CacheUse, Query
from services.orchestrator.catalogue import LiveVersion
from services.orchestrator.dispatch import Asked, Outcome
from services.orchestrator.forwarding import HeaderValues, no_headers
from services.runtime.auth.principals import Principal
from services.runtime.errors import MaybeExecutedError
from services.runtime.tracing import NO_SPAN, NO_TRACE, Span, TraceContext


class Context(msgspec.Struct, frozen=True, eq=False):
    """What comes with a query beside its body.

    A struct, as all that is made for every query: with so many fields that takes a quarter of a dataclass's time.
    """

    request_id: str
    principal: Principal
    received_at: float
    """By time.monotonic()."""
    trace: TraceContext = NO_TRACE
    headers: HeaderValues = no_headers
    """The caller's; only those that a server's configuration names are ever looked at."""
    largest_reply_bytes: float = math.inf
    """Of the body; an answer that is larger could not be delivered."""
    idempotency_key: str | None = None
    """As the caller sent it."""
    on_progress: Callable[[bytes], None] | None = None
    """Is given what the server says of the call's progress; see `dispatch.Call`. None: nobody wants to know."""
    on_log: Callable[[bytes], None] | None = None
    """The same for what it logs."""
    log_level: str | None = None
    """From which level on; one of MCP's."""
    on_ask: Callable[[Asked], None] | None = None
    """Is given what the server asks of the client; see `dispatch.Call`. None: it cannot be asked."""
    client_capabilities: str | None = None
    """What it can be asked, JSON."""

    def __repr__(self) -> str:
        return f"Context({self.request_id})"  # not the caller's headers


class StandIn(msgspec.Struct, frozen=True, eq=False):
    """An old answer of a server, for when nobody gives a new one."""

    version: LiveVersion
    outcome: Outcome


class Course(msgspec.Struct, eq=False):
    """How far a query has come; what metrics and problems need to know of it when it fails."""

    query: Query | None = None
    server: str | None = None
    attempts: int = 0
    deadline: float = 0.0
    cache: CacheUse = CacheUse.OFF
    answered_by: LiveVersion | None = None
    stand_in: StandIn | None = None
    failed_with: ErrorCode | None = None
    """What became of the latest call, if it failed."""
    losses: list[MaybeExecutedError] = []
    """The failures of calls that may have run."""
    may_repeat: bool = True
    """Whether a call may still be sent after one of these."""
    span: Span = NO_SPAN
    """The query's own; that of each call is a child of it."""

    def lose(self, error: MaybeExecutedError) -> None:
        """Note that a call failed that may have run; once for each, however often it is said."""
        self.failed_with = error.code
        if error not in self.losses:
            self.losses.append(error)
