"""What a caller is told of an error: application/problem+json (RFC 9457), from the fixed table alone."""

import math

import msgspec
import orjson

from bus_schemas.errors import ERRORS, ErrorCode
from services.runtime.errors import QueryError

CONTENT_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER_S = 1.0


def problem_body(error: QueryError, request_id: str, *, is_idempotent: bool = False) -> bytes:
    """Return the problem object for `error`; of the exception only its code and its fields are told.

    Args:
        error: what went wrong.
        request_id: the query's id.
        is_idempotent: whether a call that may have run may be sent again.
    """
    meaning = ERRORS[error.code]
    executed = error.executed
    retryable = meaning.retryable
    if retryable is None:
        retryable = is_idempotent or executed == "no"
    problem: dict[str, object] = {
        "type": f"urn:busbar:error:{error.code}",
        "title": meaning.title,
        "status": meaning.status,
        "detail": meaning.detail,
        "code": error.code.value,
        "id": request_id,
        "retryable": retryable,
        "executed": executed,
    }
    if error.errors or error.code in (ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_ARGUMENTS):
        problem["errors"] = [wrong.model_dump(exclude_none=True) for wrong in error.errors]
    if error.mcp_error is not None:
        problem["mcp_error"] = msgspec.Raw(error.mcp_error)
        return msgspec.json.encode(problem)
    return orjson.dumps(problem)


def problem_headers(error: QueryError) -> dict[str, str]:
    """Return the headers that go with the problem: Retry-After on 429 and 503, WWW-Authenticate on 401."""
    status = ERRORS[error.code].status
    if status in (429, 503):
        retry_after_s = DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
        return {"retry-after": str(max(1, math.ceil(retry_after_s)))}
    if status == 401:
        return {"www-authenticate": 'Bearer realm="busbar"'}
    return {}
