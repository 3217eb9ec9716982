"""What an orchestrator says of itself on `mcp.v1.event.orchestrator.<instance>`."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, TypeAdapter

from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId, ServerName, Version

Counts = dict[NonNegativeInt, NonNegativeInt]
"""How many, by bucket of `bus_schemas.latencies`; the empty ones are left out."""


class VersionCounts(Message):
    """What an orchestrator has counted of one version of a server since it first called it."""

    server: ServerName
    version: Version
    requests: NonNegativeInt = Field(default=0, description="Queries for which it was called, and which are over.")
    errors: NonNegativeInt = Field(default=0, description="Those that ended with a code ≥ 500 or as `tool_error`.")
    latencies: Counts = Field(default_factory=dict, description="How long these took.")
    in_flight: Counts = Field(default_factory=dict, description="How long those that are not over have taken so far.")


class OrchestratorHeartbeat(Message):
    """Sent before the orchestrator takes its first query, and every second from then on."""

    event: Literal["heartbeat"] = "heartbeat"
    instance: InstanceId
    started_at: float = Field(description="Seconds since 1970.")
    cache_hits: NonNegativeInt = Field(default=0, description="Queries answered from the cache since the start.")
    cache_misses: NonNegativeInt = Field(default=0, description="Look-ups that found nothing since the start.")
    versions: list[VersionCounts] = Field(
        default_factory=list, description="At most 64; those with a rollout under way first, then those with several."
    )


class OrchestratorLeft(Message):
    """The last word of an orchestrator that drained: it has answered everything and takes nothing more."""

    event: Literal["left"] = "left"
    instance: InstanceId


OrchestratorEvent = OrchestratorHeartbeat | OrchestratorLeft
_EVENTS: TypeAdapter[OrchestratorEvent] = TypeAdapter(Annotated[OrchestratorEvent, Field(discriminator="event")])


def decode_orchestrator_event(data: bytes) -> OrchestratorEvent:
    """Return the event that `data` holds.

    Raises:
        ValueError: it is not an event of this release or its neighbours.
    """
    return _EVENTS.validate_json(data)
