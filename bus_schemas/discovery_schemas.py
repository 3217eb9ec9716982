"""The replies of `$SRV` as JSON Schema. Source: ADR-32, "Service API", of nats-architecture-and-design."""

from typing import Any

JsonSchema = dict[str, Any]

_TEXT: JsonSchema = {"type": "string"}
_COUNT: JsonSchema = {"type": "integer", "minimum": 0}
_TEXTS: JsonSchema = {"type": "object", "additionalProperties": _TEXT}

_IDENTITY: JsonSchema = {
    "name": {**_TEXT, "description": "The server that the worker fronts."},
    "id": {**_TEXT, "description": "The worker's instance id."},
    "version": {**_TEXT, "description": "The server's version."},
    "metadata": _TEXTS,
}
_ENDPOINT: JsonSchema = {"name": _TEXT, "subject": _TEXT, "queue_group": _TEXT}


def _object(properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _reply(kind: str, **more: JsonSchema) -> JsonSchema:
    return _object({"type": {"const": f"io.nats.micro.v1.{kind}_response"}, **_IDENTITY, **more})


DISCOVERY_SCHEMAS: dict[str, JsonSchema] = {
    "PING": _reply("ping"),
    "INFO": _reply(
        "info",
        description=_TEXT,
        endpoints={"type": "array", "items": _object({**_ENDPOINT, "metadata": _TEXTS})},
    ),
    "STATS": _reply(
        "stats",
        started={**_TEXT, "format": "date-time"},
        endpoints={
            "type": "array",
            "items": _object(
                {
                    **_ENDPOINT,
                    "num_requests": _COUNT,
                    "num_errors": _COUNT,
                    "last_error": _TEXT,
                    "processing_time": {**_COUNT, "description": "In nanoseconds."},
                    "average_processing_time": {**_COUNT, "description": "In nanoseconds."},
                }
            ),
        },
    ),
}
