"""The error codes of a query: what a caller is told, and what it may do about it."""

from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Executed = Literal["no", "maybe"]


class ErrorCode(StrEnum):
    """The wire form of an error: never renamed, never reused."""

    INVALID_JSON = "invalid_json"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID_REQUEST = "invalid_request"
    INVALID_ARGUMENTS = "invalid_arguments"
    AMBIGUOUS_TOOL = "ambiguous_tool"
    UNAUTHORIZED = "unauthorized"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MISDIRECTED_REQUEST = "misdirected_request"
    SERVER_NOT_FOUND = "server_not_found"
    TOOL_NOT_FOUND = "tool_not_found"
    PROMPT_NOT_FOUND = "prompt_not_found"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    CIRCUIT_OPEN = "circuit_open"
    SERVER_UNAVAILABLE = "server_unavailable"
    MAINTENANCE = "maintenance"
    TIMEOUT = "timeout"
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_ERROR = "upstream_error"
    RESULT_TOO_LARGE = "result_too_large"
    TOOL_ERROR = "tool_error"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    IDEMPOTENCY_UNAVAILABLE = "idempotency_unavailable"
    INVALID_CONFIG = "invalid_config"
    STORE_UNAVAILABLE = "store_unavailable"
    BUS_UNAVAILABLE = "bus_unavailable"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    WORKER_NOT_FOUND = "worker_not_found"
    VERSION_NOT_FOUND = "version_not_found"
    ROLLOUT_NOT_FOUND = "rollout_not_found"
    ROLLOUT_CONFLICT = "rollout_conflict"
    PIN_NOT_FOUND = "pin_not_found"
    INTERNAL = "internal"


OF_ADMIN = frozenset(
    {
        ErrorCode.INVALID_CONFIG,
        ErrorCode.STORE_UNAVAILABLE,
        ErrorCode.BUS_UNAVAILABLE,
        ErrorCode.AUDIT_UNAVAILABLE,
        ErrorCode.WORKER_NOT_FOUND,
        ErrorCode.VERSION_NOT_FOUND,
        ErrorCode.ROLLOUT_NOT_FOUND,
        ErrorCode.ROLLOUT_CONFLICT,
        ErrorCode.PIN_NOT_FOUND,
    }
)
"""The codes that only the admin service tells."""


class ErrorMeaning(NamedTuple):
    """What a code stands for. `retryable` None means: only if the call is idempotent."""

    status: int
    title: str
    detail: str
    retryable: bool | None
    executed: Executed


_NO_RETRY, _RETRY, _IF_IDEMPOTENT = False, True, None

ERRORS: dict[ErrorCode, ErrorMeaning] = {
    ErrorCode.INVALID_JSON: ErrorMeaning(
        400,
        "Invalid JSON",
        "The body is not I-JSON: one JSON value in UTF-8, without duplicate keys, NaN, lone surrogates "
        "or nesting deeper than 64.",
        _NO_RETRY,
        "no",
    ),
    ErrorCode.PAYLOAD_TOO_LARGE: ErrorMeaning(
        413, "Payload too large", "The body is larger than 1 MiB.", _NO_RETRY, "no"
    ),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: ErrorMeaning(
        415, "Unsupported media type", "The body must be sent as application/json.", _NO_RETRY, "no"
    ),
    ErrorCode.INVALID_REQUEST: ErrorMeaning(
        422, "Invalid request", "The request has a missing, unknown or malformed field; see errors.", _NO_RETRY, "no"
    ),
    ErrorCode.INVALID_ARGUMENTS: ErrorMeaning(
        422, "Invalid arguments", "The arguments do not fit the tool's input schema; see errors.", _NO_RETRY, "no"
    ),
    ErrorCode.AMBIGUOUS_TOOL: ErrorMeaning(
        422, "Ambiguous tool", "Several unrelated servers offer this; name the server.", _NO_RETRY, "no"
    ),
    ErrorCode.UNAUTHORIZED: ErrorMeaning(
        401, "Unauthorized", "A valid key is needed: Authorization: Bearer <key>.", _NO_RETRY, "no"
    ),
    ErrorCode.ISSUER_UNAVAILABLE: ErrorMeaning(
        503,
        "Issuer unavailable",
        "Access tokens cannot be checked: their issuer has not been reached. Keys are not affected.",
        _RETRY,
        "no",
    ),
    ErrorCode.FORBIDDEN: ErrorMeaning(403, "Forbidden", "This key may not do that.", _NO_RETRY, "no"),
    ErrorCode.NOT_FOUND: ErrorMeaning(404, "Not found", "There is nothing at this path.", _NO_RETRY, "no"),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorMeaning(
        405, "Method not allowed", "This path does not take that method.", _NO_RETRY, "no"
    ),
    ErrorCode.MISDIRECTED_REQUEST: ErrorMeaning(
        421, "Misdirected request", "This service does not answer for that Host or Origin.", _NO_RETRY, "no"
    ),
    ErrorCode.SERVER_NOT_FOUND: ErrorMeaning(
        404, "Server not found", "No server of that name is configured or was ever announced.", _NO_RETRY, "no"
    ),
    ErrorCode.TOOL_NOT_FOUND: ErrorMeaning(
        404, "Tool not found", "No tool of that name is in the server's catalogue.", _NO_RETRY, "no"
    ),
    ErrorCode.PROMPT_NOT_FOUND: ErrorMeaning(
        404, "Prompt not found", "No prompt of that name is in the server's catalogue.", _NO_RETRY, "no"
    ),
    ErrorCode.RATE_LIMITED: ErrorMeaning(429, "Rate limited", "This key is over its limit.", _RETRY, "no"),
    ErrorCode.OVERLOADED: ErrorMeaning(503, "Overloaded", "There is no capacity within the deadline.", _RETRY, "no"),
    ErrorCode.CIRCUIT_OPEN: ErrorMeaning(
        503, "Circuit open", "The server failed repeatedly and is left alone for a while.", _RETRY, "no"
    ),
    ErrorCode.SERVER_UNAVAILABLE: ErrorMeaning(
        503, "Server unavailable", "No live worker serves this server now.", _RETRY, "no"
    ),
    ErrorCode.MAINTENANCE: ErrorMeaning(503, "Maintenance", "An operator has taken the server out.", _RETRY, "no"),
    ErrorCode.TIMEOUT: ErrorMeaning(504, "Timeout", "No answer came within the time allowed.", _IF_IDEMPOTENT, "maybe"),
    ErrorCode.UPSTREAM_REFUSED: ErrorMeaning(
        502, "Refused by the server", "The MCP server answered with an error; see mcp_error.", _NO_RETRY, "maybe"
    ),
    ErrorCode.UPSTREAM_ERROR: ErrorMeaning(
        502, "Server error", "The MCP server died or broke the protocol.", _IF_IDEMPOTENT, "maybe"
    ),
    ErrorCode.RESULT_TOO_LARGE: ErrorMeaning(
        502, "Result too large", "The result is larger than can be delivered.", _NO_RETRY, "maybe"
    ),
    ErrorCode.TOOL_ERROR: ErrorMeaning(
        422, "Tool error", "The tool says that it failed, or asks something back; see content.", _NO_RETRY, "maybe"
    ),
    ErrorCode.IDEMPOTENCY_CONFLICT: ErrorMeaning(
        422, "Idempotency conflict", "This Idempotency-Key was used with another body.", _NO_RETRY, "no"
    ),
    ErrorCode.IDEMPOTENCY_UNAVAILABLE: ErrorMeaning(
        503, "Idempotency unavailable", "The store of idempotency keys cannot be reached.", _RETRY, "no"
    ),
    ErrorCode.INVALID_CONFIG: ErrorMeaning(
        422, "Invalid configuration", "It cannot be put into force, nothing was changed; see errors.", _NO_RETRY, "no"
    ),
    ErrorCode.STORE_UNAVAILABLE: ErrorMeaning(
        503, "Store unavailable", "The shared store cannot be reached; nothing is claimed.", _RETRY, "no"
    ),
    ErrorCode.BUS_UNAVAILABLE: ErrorMeaning(
        503, "Bus unavailable", "The bus cannot be reached; nothing was changed.", _RETRY, "no"
    ),
    ErrorCode.AUDIT_UNAVAILABLE: ErrorMeaning(
        503, "Audit unavailable", "The audit log cannot be written; nothing was changed.", _RETRY, "no"
    ),
    ErrorCode.WORKER_NOT_FOUND: ErrorMeaning(404, "Worker not found", "No live worker has that id.", _NO_RETRY, "no"),
    ErrorCode.VERSION_NOT_FOUND: ErrorMeaning(
        404, "Version not found", "No worker of that version of the server lives.", _NO_RETRY, "no"
    ),
    ErrorCode.ROLLOUT_NOT_FOUND: ErrorMeaning(
        404, "Rollout not found", "There is no rollout of that id, or it was long ago.", _NO_RETRY, "no"
    ),
    ErrorCode.ROLLOUT_CONFLICT: ErrorMeaning(
        409,
        "Rollout conflict",
        "A rollout of this server is under way, the version has its queries already, "
        "or the rollout is not in a state for that.",
        _NO_RETRY,
        "no",
    ),
    ErrorCode.PIN_NOT_FOUND: ErrorMeaning(
        404, "Pin not found", "The definitions of this server's tools are not pinned.", _NO_RETRY, "no"
    ),
    ErrorCode.INTERNAL: ErrorMeaning(500, "Internal error", "A fault of the gateway.", _NO_RETRY, "maybe"),
}


class FieldError(BaseModel):
    """One thing wrong with a request: where (a JSON pointer) and which rule (a JSON Schema keyword)."""

    model_config = ConfigDict(frozen=True)

    pointer: str = Field(examples=["/arguments/alias"])
    keyword: str = Field(examples=["required"])
    detail: str | None = Field(default=None, description="What is wrong, in words; only of a configuration.")


class Problem(BaseModel):
    """An error as a caller sees it: application/problem+json (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(examples=["urn:busbar:error:timeout"])
    title: str
    status: int
    detail: str
    code: ErrorCode
    id: str = Field(description="The query's id, as in logs and traces.")
    retryable: bool = Field(description="Whether sending the same query again can help and do no harm.")
    executed: Executed = Field(description="`no`: it certainly never ran.")
    errors: list[FieldError] | None = None
    mcp_error: dict[str, Any] | None = Field(default=None, description="The server's JSON-RPC error, unchanged.")
