"""Server-sent events, as MCP uses them: each is one JSON-RPC message."""

from typing import Final

from starlette.types import Send

from services.orchestrator.forwarding import HeaderValues

EVENTS_TYPE: Final = "text/event-stream"
RAW_EVENT_HEADERS: Final = [
    (b"content-type", EVENTS_TYPE.encode()),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
"""Of a stream; the last keeps nginx from holding events back."""

PING: Final = b": ping\n\n"
"""Says nothing, to whoever waits and to what is in between."""
PING_S: Final = 15.0
"""How long a stream may be silent."""


def takes_events(headers: HeaderValues) -> bool:
    """Whether a client takes a stream of events in reply."""
    accepted = ",".join(headers("accept"))
    return EVENTS_TYPE in accepted or "*/*" in accepted


def event(message: bytes) -> bytes:
    """Return the event that carries a message. A line break in JSON can only stand between tokens."""
    if b"\n" in message or b"\r" in message:
        message = message.replace(b"\n", b" ").replace(b"\r", b" ")
    return b"".join((b"event: message\ndata: ", message, b"\n\n"))


async def send_part(send: Send, part: bytes) -> None:
    """Send a part of a body that goes on."""
    await send({"type": "http.response.body", "body": part, "more_body": True})
