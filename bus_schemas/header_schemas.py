"""Every header of the bus as JSON Schema: what the AsyncAPI document says of it."""

from collections.abc import Iterable
from typing import Any

from bus_schemas import envelope
from bus_schemas.calls import LOG_LEVELS
from bus_schemas.envelope import Kind
from bus_schemas.errors import ErrorCode

JsonSchema = dict[str, Any]

_NUMBER = "^[0-9]{1,15}$"

HEADERS: dict[str, JsonSchema] = {
    envelope.REQUEST_ID: {"description": "The query's id, a ULID; the same for every attempt."},
    envelope.TIMEOUT_MS: {"description": "What is left until the deadline, in milliseconds.", "pattern": _NUMBER},
    envelope.SENT_AT: {
        "description": "When the message was sent, in milliseconds since 1970 by the sender's clock, which may be 30 s "
        "wrong. A query's `timeout_ms` counts from then; without it, from when it comes. Whose clock it is tells the "
        "reply subject up to its last dot.",
        "pattern": _NUMBER,
    },
    envelope.ATTEMPT: {"description": "Which attempt at the query this is, from 1.", "pattern": "^[1-9][0-9]*$"},
    envelope.PRINCIPAL: {"description": "Who asks: the id of a key, or `bus`."},
    envelope.TRACEPARENT: {"description": "W3C Trace Context."},
    envelope.TRACESTATE: {"description": "W3C Trace Context."},
    envelope.SESSION_LOST: {
        "description": "The caller's own session ended with the worker that held it: tell the caller, once.",
        "const": "1",
    },
    envelope.PROGRESS: {"description": "Whoever asks takes `progress` before the answer.", "const": "1"},
    envelope.LOG_LEVEL: {
        "description": "Whoever asks takes `log` before the answer, from this level on.",
        "enum": list(LOG_LEVELS),
    },
    envelope.CLIENT_CAPABILITIES: {
        "description": "JSON, MCP's ClientCapabilities: whoever asks answers `ask` for these, with the order "
        "`answer_asked`.",
        "contentMediaType": "application/json",
    },
    envelope.ASK_ID: {"description": "By what the answer to an `ask` names it; known to worker and sender alone."},
    envelope.KIND: {"description": "What this reply is; readers skip a kind they do not know.", "enum": list(Kind)},
    envelope.INSTANCE: {"description": "The worker that replies."},
    envelope.CODE: {
        "description": "Why there is no result; one that the reader does not know counts as `upstream_error`.",
        "enum": list(ErrorCode),
    },
    envelope.EXECUTED: {"description": "`no`: the call certainly never ran.", "enum": ["no", "maybe"]},
    envelope.UPSTREAM_US: {"description": "How long the MCP server took, in microseconds.", "pattern": _NUMBER},
    envelope.QUEUE_US: {
        "description": "How long the call waited for a slot of the worker, in microseconds.",
        "pattern": _NUMBER,
    },
    envelope.CHUNK: {"description": "Which part of the result this is, from 1.", "pattern": _NUMBER},
    envelope.CHUNKS: {"description": "How many parts the result has.", "pattern": _NUMBER},
    envelope.SHA256: {"description": "Of the whole result, in hex.", "pattern": "^[0-9a-f]{64}$"},
    envelope.STATUS: {
        "description": "The HTTP status that the same query would have had.",
        "pattern": "^[1-5][0-9]{2}$",
    },
    envelope.AUTHORIZATION: {
        "description": "`Bearer <key>`. Without it the principal is `bus`: the permission to publish is the right.",
        "pattern": "^Bearer ",
    },
    envelope.IDEMPOTENCY_KEY: {
        "description": "Any text of the caller's: for 24 hours the same query with the same key runs once.",
        "pattern": "^[!-~]{1,255}$",
    },
    envelope.IDEMPOTENCY_REPLAYED: {
        "description": "This is what the first query with this idempotency key was told.",
        "const": "true",
    },
    "content-type": {"enum": ["application/json", "application/problem+json"]},
    "retry-after": {"description": "Of 429 and 503: seconds until it is worth asking again.", "pattern": _NUMBER},
    "www-authenticate": {"description": "Of 401."},
}


FORWARDED: JsonSchema = {
    "description": "A caller's header, by the rest of the name; only one that the server's configuration names.",
    "pattern": "^[\\t -~]*$",
}
"""What is said of every header whose name begins with `envelope.FORWARD_PREFIX`."""


def headers_schema(names: Iterable[str], *, required: Iterable[str], **fixed: str) -> JsonSchema:
    """Return the schema of a header set.

    Args:
        names: the headers there may be.
        required: those that every sender sends.
        fixed: `kind`, where only one of its values is meant.
    """
    names = list(names)
    alone = [name for name in names if not name.startswith(envelope.FORWARD_PREFIX)]
    properties = {name: {"type": "string", **HEADERS[name]} for name in alone}
    if "kind" in fixed:
        properties[envelope.KIND] = {"type": "string", "const": fixed["kind"]}
    schema = {"type": "object", "properties": properties, "required": list(required)}
    if len(alone) < len(names):
        schema["patternProperties"] = {f"^{envelope.FORWARD_PREFIX}": {"type": "string", **FORWARDED}}
    return schema
