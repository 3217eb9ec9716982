"""Which servers an operator has taken out, on `mcp.v1.event.maintenance.<server>`, and what everybody knows of it."""

from typing import Final, Literal

from pydantic import Field, NonNegativeInt

from bus_schemas.control import Acknowledged
from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId, ServerName

LATEST_S: Final = 253_402_300_799
"""The last second of the year 9999, in seconds since 1970: a later moment cannot be told as a date."""


class MaintenanceChanged(Message):
    """An operator has taken a server out, or has put it back; every orchestrator acknowledges it.

    Of two words on one server the one with the higher epoch holds, of two with the same epoch the one whose `by` sorts
    last. The same JSON is retained in the store.
    """

    event: Literal["changed"] = "changed"
    server: ServerName
    is_out: bool = Field(description="Whether no query is to reach the server.")
    until: float | None = Field(
        default=None,
        le=LATEST_S,
        description="When it is back by itself, seconds since 1970 by each reader's clock; None: not by itself.",
    )
    reason: str = ""
    epoch: NonNegativeInt = Field(description="Milliseconds since 1970, or one more than the highest that was known.")
    updated_at: float = Field(description="When the operator said so, seconds since 1970.")
    by: InstanceId = Field(description="The admin service that was asked.")


class MaintenanceAcknowledged(Acknowledged):
    """The orchestrator goes by the MaintenanceChanged, or by a newer one."""


class AskMaintenance(Message):
    """Asks every process that follows maintenance what it knows, on `mcp.v1.control.maintenance`."""

    order: Literal["tell_maintenance"] = "tell_maintenance"


class MaintenanceTold(Message):
    """The answer to AskMaintenance: the newest word on each server, those that are over included."""

    instance: InstanceId
    words: list[MaintenanceChanged]
