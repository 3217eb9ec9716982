"""Which definitions of tools are accepted, on `mcp.v1.event.pins.<server>`, and what everybody knows of it."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, StringConstraints

from bus_schemas.control import Acknowledged
from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId, ServerName

DefinitionDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class PinsChanged(Message):
    """An operator pins the definitions of a server's tools, or accepts others; every orchestrator acknowledges it.

    Of two words on one server the one with the higher epoch holds, of two with the same epoch the one whose `by` sorts
    last. The same JSON is retained in the store.
    """

    event: Literal["changed"] = "changed"
    server: ServerName
    tools: dict[str, list[DefinitionDigest]] | None = Field(
        default=None,
        description="By name, the digests of the definitions that each tool may have, the newest last; a tool that is "
        "not named may have none. Null: any tool may have any.",
    )
    epoch: NonNegativeInt = Field(description="Milliseconds since 1970, or one more than the highest that was known.")
    updated_at: float = Field(description="When the operator said so, seconds since 1970.")
    by: InstanceId = Field(description="The admin service that was asked.")


class PinsAcknowledged(Acknowledged):
    """The orchestrator goes by the PinsChanged, or by a newer one."""


class AskPins(Message):
    """Asks every process that follows pins what it knows, on `mcp.v1.control.pins`."""

    order: Literal["tell_pins"] = "tell_pins"


class PinsTold(Message):
    """The answer to AskPins: the newest word on each server, those that pin nothing any more included."""

    instance: InstanceId
    words: list[PinsChanged]
