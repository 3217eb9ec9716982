"""Orchestrator → orchestrators: what an MCP client of the handshake era has posted, which may concern any of them.

All on `mcp.v1.event.client`: a session belongs to no orchestrator, and what it says later may come over another one.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from bus_schemas.envelope import Message


class ClientAnswered(Message):
    """The answer to a request that the client was sent while a request of its own runs."""

    event: Literal["answered"] = "answered"
    request_id: str
    """Of the request that it was sent: a secret of the two."""
    caller: str
    """The principal's id, by which it is told whether that was its to answer."""
    response: str
    """The JSON-RPC response."""


class ClientCancelled(Message):
    """The client no longer waits for a request of its own."""

    event: Literal["cancelled"] = "cancelled"
    session: str
    """SHA-256 of the session id, in hex."""
    request_id: int | str


class ClientSetLogLevel(Message):
    """From which level on the client wants to be told log messages."""

    event: Literal["log_level"] = "log_level"
    session: str
    """SHA-256 of the session id, in hex."""
    level: str


ClientEvent = ClientAnswered | ClientCancelled | ClientSetLogLevel

_events: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="event")])


def decode_client_event(payload: bytes) -> ClientEvent:
    """Raises ValueError if it is none."""
    return _events.validate_json(payload)
