"""Why a query has no result, as a caller of MCP is told (pure)."""

from typing import Final

import msgspec

from bus_schemas.errors import ERRORS, FieldError
from services.orchestrator.mcp.eras import Era
from services.orchestrator.mcp.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from services.orchestrator.query import Failure
from services.runtime.errors import (
    AmbiguousToolError,
    ForbiddenError,
    InvalidRequestError,
    PromptNotFoundError,
    ServerNotFoundError,
    ToolNotFoundError,
    UpstreamRefusedError,
)

_NOT_FOUND: Final = (ToolNotFoundError, PromptNotFoundError, ServerNotFoundError, ForbiddenError)
"""What a key may not use does not exist for it: it is not listed either."""
_CALLERS_FAULT: Final = (AmbiguousToolError, InvalidRequestError)


def not_found(kind: str, name: str, era: Era) -> RpcError:
    """Return the error for a tool, resource or prompt that there is not, or not for this caller."""
    code = era.resource_not_found if kind == "resource" else INVALID_PARAMS
    data = msgspec.json.encode({"uri" if kind == "resource" else "name": name})
    return RpcError(code, f"Unknown {kind}: {name}", data)


def rpc_error(failure: Failure, kind: str, name: str, era: Era) -> RpcError:
    """Return what becomes of a query that has no result.

    Args:
        failure: of the query.
        kind: `tool`, `resource` or `prompt`.
        name: as the caller called it.
        era: the caller's.
    """
    error = failure.error
    if isinstance(error, _NOT_FOUND):
        return not_found(kind, name, era)
    if isinstance(error, UpstreamRefusedError) and error.mcp_error is not None:
        told = era.upstream_error(error.mcp_error)
        if told is not None:
            return told
    code = INVALID_PARAMS if isinstance(error, _CALLERS_FAULT) else INTERNAL_ERROR
    return RpcError(code, ERRORS[error.code].detail, failure.problem)


def invalid_arguments(errors: tuple[FieldError, ...]) -> bytes:
    """Return the result of a tool call whose arguments do not fit the tool's input schema.

    A result, not an error: a model reads it and mends its call. Source: MCP 2025-11-25, SEP-1303.
    """
    wrong = "".join(f"\n{error.pointer}: {error.keyword}" for error in errors)
    text = f"The arguments do not fit the tool's input schema.{wrong}"
    return msgspec.json.encode({"content": [{"type": "text", "text": text}], "isError": True})
