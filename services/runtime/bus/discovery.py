"""$SRV PING, INFO and STATS of ADR-32: how `nats micro` and a starting orchestrator find workers.

`nats.micro` itself is not used: it handles one request at a time, drops what it has at its stop, and sends the texts
of exceptions to callers.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from pydantic import TypeAdapter

from bus_schemas.names import InstanceId, ServerName
from bus_schemas.subjects import service_verb
from services.runtime.bus.connection import Bus, BusAwayError
from services.runtime.bus.inbox import Inbox

_IDENTITY: TypeAdapter[tuple[ServerName, InstanceId]] = TypeAdapter(tuple[ServerName, InstanceId])


@dataclass(slots=True)
class EndpointStats:
    """Counters of one endpoint since the start."""

    requests: int = 0
    errors: int = 0
    last_error: str = ""
    processing_ns: int = 0


@dataclass(frozen=True, slots=True)
class ServiceFace:
    """What a process shows of itself on `$SRV`."""

    name: str
    version: str
    instance: str
    description: str
    subject: str
    queue: str
    started_at: float
    stats: EndpointStats
    metadata: Callable[[], dict[str, str]] = field(default=dict)

    def answer(self, verb: str) -> dict[str, Any] | None:
        """The response to `verb`, or None where there is no such verb."""
        identity = {"name": self.name, "id": self.instance, "version": self.version, "metadata": self.metadata()}
        endpoint = {"name": "call", "subject": self.subject, "queue_group": self.queue}
        match verb:
            case "PING":
                return {"type": "io.nats.micro.v1.ping_response", **identity}
            case "INFO":
                return {
                    "type": "io.nats.micro.v1.info_response",
                    **identity,
                    "description": self.description,
                    "endpoints": [{**endpoint, "metadata": {}}],
                }
            case "STATS":
                counted = self.stats
                return {
                    "type": "io.nats.micro.v1.stats_response",
                    **identity,
                    "started": datetime.fromtimestamp(self.started_at, UTC).isoformat().replace("+00:00", "Z"),
                    "endpoints": [
                        {
                            **endpoint,
                            "num_requests": counted.requests,
                            "num_errors": counted.errors,
                            "last_error": counted.last_error,
                            "processing_time": counted.processing_ns,
                            "average_processing_time": counted.processing_ns // max(1, counted.requests),
                        }
                    ],
                }
        return None


@asynccontextmanager
async def discoverable(bus: Bus, face: ServiceFace) -> AsyncIterator[None]:
    """Answer `$SRV.<verb>`, `$SRV.<verb>.<name>` and `$SRV.<verb>.<name>.<id>` for `face`."""

    async def respond(message: Msg) -> None:
        answer = face.answer(message.subject.split(".")[1])
        if answer is not None and message.reply:
            # Not message.respond(): it would copy the request's headers into the answer.
            await bus.publish(message.reply, json.dumps(answer).encode())

    async with AsyncExitStack() as stack:
        for subject in (
            service_verb("*"),
            service_verb("*", face.name),
            service_verb("*", face.name, face.instance),
        ):
            stack.push_async_callback((await bus.subscribe(subject, respond)).drain)
        yield


async def find_instances(inbox: Inbox) -> list[tuple[str, str]]:
    """Return (name, instance) of every process that answers `$SRV.PING` within half a second."""
    try:
        replies = await inbox.gather(service_verb("PING"), b"", total_s=0.5, stall_s=0.1)
    except BusAwayError:
        return []
    found = []
    for reply in replies:
        try:
            answer = json.loads(reply.data)
            found.append(_IDENTITY.validate_python((answer["name"], answer["id"])))
        except (ValueError, KeyError, TypeError):
            continue  # somebody else's service with an answer of its own
    return found
