"""Which share each version of a server gets, on `mcp.v1.event.rollout.<server>`, and what each process knows of it."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from bus_schemas.control import Acknowledged
from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId, ServerName, Version

Percent = Annotated[float, Field(ge=0, le=100)]


class RolloutWeights(Message):
    """The weights of a server's versions have been set; every orchestrator acknowledges it.

    A version that is not among them gets nothing as long as one with weight lives. Of two words on one server the one
    with the higher epoch holds, of two with the same epoch the one whose `by` sorts last. The same JSON is retained in
    the store.
    """

    event: Literal["weights"] = "weights"
    server: ServerName
    weights: dict[Version, Percent] = Field(description="Shares of the server's queries, in percent.")
    under_way: bool = Field(default=False, description="Whether a rollout goes on: then each version is counted.")
    epoch: NonNegativeInt = Field(description="Milliseconds since 1970, or one more than the highest that was known.")
    updated_at: float = Field(description="When they were set, seconds since 1970.")
    by: InstanceId = Field(description="The admin service, or the supervisor that pinned a version, that has set them.")


class RolloutAcknowledged(Acknowledged):
    """The orchestrator goes by the RolloutWeights, or by a newer one."""


class AskRollouts(Message):
    """Asks every process that follows rollouts what it knows, on `mcp.v1.control.rollouts`."""

    order: Literal["tell_rollouts"] = "tell_rollouts"


class RolloutsTold(Message):
    """The answer to AskRollouts: the newest word on each server."""

    instance: InstanceId
    words: list[RolloutWeights]
