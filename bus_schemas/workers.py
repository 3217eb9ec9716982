"""What a worker says of itself on `mcp.v1.event.worker.<server>.<instance>`."""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId, ServerName, Version

Definition = dict[str, Any]
"""A tool, resource, resource template or prompt as the MCP server defines it, unknown fields included."""


class WorkerState(StrEnum):
    """Whether a worker takes queries."""

    SERVING = "serving"
    UNAVAILABLE = "unavailable"
    DRAINING = "draining"


class ServerFault(StrEnum):
    """Why a server has no working session: the only words for it that leave the worker."""

    CONNECTION_TIMEOUT = "Connection timeout"
    CONNECTION_REFUSED = "Connection refused"
    PROCESS_EXITED = "Process exited"
    PROTOCOL_ERROR = "Protocol error"
    NOT_RESPONDING = "Not responding"


class Catalogue(Message):
    """What one version of a server offers."""

    tools: list[Definition] = Field(default_factory=list)
    resources: list[Definition] = Field(default_factory=list)
    resource_templates: list[Definition] = Field(default_factory=list)
    prompts: list[Definition] = Field(default_factory=list)

    def digest(self) -> str:
        """The same for the same catalogue, whichever worker lists it: SHA-256 over its sorted JSON, in hex."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


class _AboutWorker(Message):
    server: ServerName
    version: Version
    instance: InstanceId


class WorkerReport(_AboutWorker):
    """How a worker does."""

    state: WorkerState
    started_at: float = Field(description="Seconds since 1970.")
    sent_at: float = Field(description="Seconds since 1970, by the worker's clock.")
    in_flight: int = 0
    max_in_flight: int = 1
    restarts: int = Field(default=0, description="How often the session was opened anew.")
    catalogue: str | None = Field(default=None, description="The digest of the catalogue, once there is one.")
    latency_ms: float | None = Field(default=None, description="Of the last MCP round trip of the probe.")
    checked_at: float | None = Field(default=None, description="When the probe last ran, seconds since 1970.")
    fault: ServerFault | None = None
    callers: list[str] = Field(
        default_factory=list,
        description="The digests of the callers that have a session of their own here (`session: caller`).",
    )


class WorkerHeartbeat(WorkerReport):
    """Sent every second, and at once when something in it changes."""

    event: Literal["heartbeat"] = "heartbeat"


class WorkerJoined(WorkerReport):
    """Sent when the worker begins to serve, and when its catalogue changes; also the answer to DescribeWorker."""

    event: Literal["joined"] = "joined"
    offers: Catalogue


class WorkerDraining(_AboutWorker):
    """The worker takes no new calls after this; it finishes those it has."""

    event: Literal["draining"] = "draining"
    by_order: bool = Field(
        default=False, description="Whether a DrainWorker was obeyed: its supervisor is not to start it again."
    )


class WorkerLeft(_AboutWorker):
    """The last word of a worker that drained."""

    event: Literal["left"] = "left"
    answered: int = Field(default=0, description="Calls it answered in its life.")


WorkerEvent = WorkerJoined | WorkerHeartbeat | WorkerDraining | WorkerLeft
_EVENTS: TypeAdapter[WorkerEvent] = TypeAdapter(Annotated[WorkerEvent, Field(discriminator="event")])


def decode_worker_event(data: bytes) -> WorkerEvent:
    """Return the event that `data` holds.

    Raises:
        ValueError: it is not an event of this release or its neighbours.
    """
    return _EVENTS.validate_json(data)
