"""What becomes of breakers, on `mcp.v1.event.breaker.<server>`, and what each orchestrator knows of all of them."""

from enum import StrEnum
from typing import Final, Literal

from pydantic import Field, NonNegativeInt

from bus_schemas.control import Acknowledged
from bus_schemas.envelope import Message
from bus_schemas.names import InstanceId, ServerName, Version

ADMIN: Final = "admin"
"""In the place of an orchestrator's instance: an operator has ordered it."""


class BreakerState(StrEnum):
    """Whether calls are let through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    ISOLATED = "isolated"


class BreakerChanged(Message):
    """The breaker of a version of a server has changed, in one orchestrator and so in all.

    Of two words on one breaker the one with the higher epoch holds, of two with the same epoch the one whose `by` sorts
    last. An operator's word, `by` admin, is on every version of the server: `isolated` until its time is over, or
    `closed`, which resets them. Every orchestrator obeys it, whatever the epoch, and acknowledges it where there is a
    reply subject.
    """

    event: Literal["changed"] = "changed"
    server: ServerName
    version: Version | None = Field(default=None, description="None: every version; only an operator says so.")
    state: BreakerState
    epoch: NonNegativeInt = Field(description="Milliseconds since 1970, or one more than the highest that was known.")
    opened_at: float | None = Field(default=None, description="Since when calls are refused, seconds since 1970.")
    open_ms: NonNegativeInt = Field(
        default=0,
        description="How long from the sending on: `open` until a probe is let through, `half_open` until the probe "
        "counts as lost, `isolated` until the breaker closes; in milliseconds.",
    )
    by: InstanceId = Field(description="The orchestrator whose breaker changed, and that probes; `admin`: an operator.")
    reason: str = ""


class BreakerAcknowledged(Acknowledged):
    """The orchestrator has done what an operator's BreakerChanged says."""


class AskBreakers(Message):
    """Asks every orchestrator what it knows, on `mcp.v1.control.breakers`."""

    order: Literal["tell_breakers"] = "tell_breakers"


class BreakersTold(Message):
    """The answer to AskBreakers: the newest word on each breaker, with the time that is left of it."""

    instance: InstanceId
    breakers: list[BreakerChanged]
