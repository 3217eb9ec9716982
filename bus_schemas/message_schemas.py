"""Every message as an AsyncAPI message object: headers, payload and an example."""

import inspect
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bus_schemas import envelope, examples
from bus_schemas.calls import CallHeaders, accepted_headers, ask_headers, log_headers, progress_headers
from bus_schemas.discovery_schemas import DISCOVERY_SCHEMAS
from bus_schemas.envelope import Kind
from bus_schemas.header_schemas import headers_schema

Document = dict[str, Any]

_PROGRESS: Document = {
    "type": "object",
    "properties": {"progress": {"type": "number"}, "total": {"type": "number"}, "message": {"type": "string"}},
    "required": ["progress"],
}
_LOG: Document = {
    "type": "object",
    "properties": {"level": {"type": "string"}, "logger": {"type": "string"}, "data": {}},
    "required": ["level", "data"],
}
_PROBLEM_TYPE = "application/problem+json"

_MODELS: dict[str, tuple[BaseModel, ...]] = {
    "query": (examples.QUERY, examples.RESOURCE_QUERY, examples.PROMPT_QUERY, examples.CONTINUED_QUERY),
    "answer": (examples.ANSWER,),
    "problem": (examples.PROBLEM, examples.REFUSED_PROBLEM),
    "cancel_call": (examples.CANCEL_CALL,),
    "describe_worker": (examples.DESCRIBE_WORKER,),
    "drain_worker": (examples.DRAIN_WORKER,),
    "answer_asked": (examples.ANSWER_ASKED,),
    "find_state": (examples.FIND_STATE,),
    "state_found": (examples.STATE_FOUND,),
    "acknowledged": (examples.ACKNOWLEDGED,),
    "worker_joined": (examples.WORKER_JOINED, examples.WORKER_JOINED_UNAVAILABLE),
    "worker_heartbeat": (examples.WORKER_HEARTBEAT,),
    "worker_draining": (examples.WORKER_DRAINING,),
    "worker_left": (examples.WORKER_LEFT,),
    "orchestrator_heartbeat": (examples.ORCHESTRATOR_HEARTBEAT,),
    "orchestrator_left": (examples.ORCHESTRATOR_LEFT,),
    "cache_flushed": (examples.CACHE_FLUSHED, examples.WHOLE_CACHE_FLUSHED),
    "flush_acknowledged": (examples.FLUSH_ACKNOWLEDGED,),
    "breaker_changed": (examples.BREAKER_OPENED, examples.SERVER_ISOLATED),
    "breaker_acknowledged": (examples.BREAKER_ACKNOWLEDGED,),
    "ask_breakers": (examples.ASK_BREAKERS,),
    "breakers_told": (examples.BREAKERS_TOLD,),
    "rollout_weights": (examples.ROLLOUT_WEIGHTS,),
    "rollout_acknowledged": (examples.ROLLOUT_ACKNOWLEDGED,),
    "ask_rollouts": (examples.ASK_ROLLOUTS,),
    "rollouts_told": (examples.ROLLOUTS_TOLD,),
    "client_answered": (examples.CLIENT_ANSWERED,),
    "client_cancelled": (examples.CLIENT_CANCELLED,),
    "client_set_log_level": (examples.CLIENT_SET_LOG_LEVEL,),
    "prepare_config": (examples.PREPARE_CONFIG,),
    "config_prepared": (examples.CONFIG_PREPARED, examples.CONFIG_REFUSED),
    "apply_config": (examples.APPLY_CONFIG,),
    "config_applied": (examples.CONFIG_APPLIED,),
    "deploy_server": (examples.DEPLOY_SERVER,),
    "deployment_answer": (examples.DEPLOYMENT_ANSWER,),
    "stop_version": (examples.STOP_VERSION,),
    "stop_answer": (examples.STOP_ANSWER,),
    "maintenance_changed": (examples.SERVER_TAKEN_OUT, examples.SERVER_PUT_BACK),
    "maintenance_acknowledged": (examples.MAINTENANCE_ACKNOWLEDGED,),
    "ask_maintenance": (examples.ASK_MAINTENANCE,),
    "maintenance_told": (examples.MAINTENANCE_TOLD,),
    "pins_changed": (examples.DEFINITIONS_PINNED, examples.DEFINITIONS_UNPINNED),
    "pins_acknowledged": (examples.PINS_ACKNOWLEDGED,),
    "ask_pins": (examples.ASK_PINS,),
    "pins_told": (examples.PINS_TOLD,),
}


def message_objects() -> Document:
    """Return every message by its name in the document."""
    return {**_model_messages(), **_call_messages(), **_discovery_messages()}


def payload_schemas() -> Document:
    """Return the JSON Schema of every model, and of the models in them, by class name."""
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        # As its reader takes the query, as its writer sends all else.
        (type(samples[0]), "validation" if name == "query" else "serialization")
        for name, samples in _MODELS.items()
    ]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    for schema in schemas["$defs"].values():
        # What tells events and orders apart has a default for those who build them; on the wire it is always there.
        tags = [name for name, field in schema.get("properties", {}).items() if "const" in field]
        if tags:
            schema["required"] = sorted({*schema.get("required", ()), *tags})
    return dict(schemas["$defs"])


def _model_messages() -> Document:
    messages: Document = {
        name: {
            "summary": inspect.cleandoc(type(samples[0]).__doc__ or "").partition("\n")[0],
            "payload": {"$ref": f"#/components/schemas/{type(samples[0]).__name__}"},
            "examples": [{"payload": _values(sample)} for sample in samples],
        }
        for name, samples in _MODELS.items()
    }
    asked = (
        envelope.AUTHORIZATION,
        envelope.IDEMPOTENCY_KEY,
        envelope.PROGRESS,
        envelope.SENT_AT,
        envelope.TRACEPARENT,
        envelope.TRACESTATE,
    )
    told = (envelope.STATUS, "content-type")
    replayed = (*told, envelope.IDEMPOTENCY_REPLAYED)
    messages["query"]["headers"] = headers_schema(asked, required=())
    messages["answer"]["headers"] = headers_schema(replayed, required=told)
    messages["problem"]["headers"] = headers_schema((*replayed, "retry-after", "www-authenticate"), required=told)
    messages["problem"]["contentType"] = _PROBLEM_TYPE
    messages["answer"]["examples"][0]["headers"] = {envelope.STATUS: "200", "content-type": "application/json"}
    for example in messages["problem"]["examples"]:
        status = str(example["payload"]["status"])
        example["headers"] = {envelope.STATUS: status, "content-type": _PROBLEM_TYPE}
    return messages | {"query_progress": _query_progress()}


def _query_progress() -> Document:
    headers = {envelope.KIND: Kind.PROGRESS.value, envelope.REQUEST_ID: examples.ANSWER.id}
    return {
        "summary": "How far a query has come, in the server's words; of a flood the latest.",
        "headers": headers_schema(headers, required=headers, kind=Kind.PROGRESS),
        "payload": _PROGRESS,
        "examples": [{"headers": headers, "payload": examples.PROGRESS}],
    }


def _call_messages() -> Document:
    call = examples.CALL_HEADERS.encode()
    least = CallHeaders(request_id="", timeout_ms=0, sent_at_ms=0, attempt=1, principal="").encode()
    return {
        "call": {
            "summary": "A request of MCP without an id.",
            "headers": headers_schema(call, required=least),
            "payload": {
                "type": "object",
                "properties": {
                    "method": {"enum": ["tools/call", "resources/read", "prompts/get", "completion/complete"]},
                    "params": {"type": "object"},
                    "meta": {
                        "type": "object",
                        "description": "What an MCP caller's `_meta` tells servers of it, its capabilities above all.",
                    },
                },
                "required": ["method", "params"],
            },
            "examples": [{"headers": call, "payload": examples.CALL}],
        },
        "accepted": _reply(
            "This worker holds the call; sent when the result takes more than a moment. No payload.",
            accepted_headers(examples.INSTANCE),
        ),
        "progress": _reply(
            "The `params` of the server's `notifications/progress`, without the token. Only for a call that wants it; "
            "of a flood the latest, ten a second, and none after the outcome.",
            progress_headers(examples.INSTANCE),
            payload=_PROGRESS,
            example=examples.PROGRESS,
        ),
        "log": _reply(
            "The `params` of the server's `notifications/message`. Only for a call that wants it; none after the "
            "outcome.",
            log_headers(examples.INSTANCE),
            payload=_LOG,
            example=examples.LOG_MESSAGE,
        ),
        "ask": _reply(
            "What the server asks of the client while the call runs, a request of MCP without an id. Only for a call "
            "that says what the client can be asked.",
            ask_headers(examples.INSTANCE, examples.ANSWER_ASKED.ask_id),
            payload={
                "type": "object",
                "properties": {"method": {"type": "string"}, "params": {"type": "object"}},
                "required": ["method", "params"],
            },
            example=examples.ASK,
        ),
        "result": _reply(
            "The MCP server's result object, byte for byte.",
            examples.RESULT_HEADERS.encode(),
            payload={"type": "object"},
            example=examples.ANSWER.result,
        ),
        "chunk": _reply(
            "A part of a result that is too large for one message, on the bulk inbox: the reply subject with `-bulk` "
            "after its second token. The parts in the order of their numbers are the result.",
            examples.CHUNK_HEADERS.encode(),
            payload={"type": "string", "format": "binary"},
            example='{"content": […',
        ),
        "error": _reply(
            "Why there is no result. The payload of `upstream_refused` is the server's JSON-RPC error; else none.",
            examples.ERROR_HEADERS.encode(),
            payload={"type": "object"},
            example=examples.REFUSAL,
        ),
    }


def _reply(summary: str, headers: dict[str, str], *, payload: Document | None = None, example: Any = None) -> Document:
    kind = Kind(headers[envelope.KIND])
    message: Document = {"summary": summary, "headers": headers_schema(headers, required=headers, kind=kind)}
    if payload is None:
        return {**message, "examples": [{"headers": headers}]}
    return {**message, "payload": payload, "examples": [{"headers": headers, "payload": example}]}


def _discovery_messages() -> Document:
    asked: Document = {"discover": {"summary": "A request without a payload."}}
    return asked | {
        f"discovery_{verb.lower()}": {"summary": f"The reply to {verb}.", "payload": schema}
        for verb, schema in DISCOVERY_SCHEMAS.items()
    }


def _values(example: BaseModel) -> Any:
    return example.model_dump(mode="json", exclude_none=True)
