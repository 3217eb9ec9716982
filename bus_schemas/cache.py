"""What happens to the shared cache, on `mcp.v1.event.cache`, and how every orchestrator says that it has obeyed."""

from typing import Literal

from pydantic import Field

from bus_schemas.control import Acknowledged
from bus_schemas.envelope import Message
from bus_schemas.names import ServerName


class CacheFlushed(Message):
    """Entries are invalid from now on: all, those of a server, or those of one tool of it.

    Sent when the store knows it. Every orchestrator acknowledges it to the reply subject, as soon as it answers
    nothing from before.
    """

    event: Literal["flushed"] = "flushed"
    server: ServerName | None = Field(default=None, description="None: of every server.")
    target: str | None = Field(default=None, description="A tool's name or a resource's URI; None: of all of them.")


class FlushAcknowledged(Acknowledged):
    """The orchestrator answers nothing from before the flush any more."""
