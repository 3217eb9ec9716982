"""What can go wrong with a query. The branch decides what the orchestrator does.

QueryError
├── NotExecutedError           certainly never ran: another worker or server may be asked at once
│   ├── NoWorkerError          no live worker serves the server, or the bus is away before dispatch
│   ├── OverloadedError        no slot within the deadline
│   ├── CircuitOpenError       the breaker of the server's version is open
│   ├── MaintenanceError       an operator has taken the server out
│   ├── DeadlinePassedError    the deadline passed before the call was handed to the server
│   ├── ToolNotFoundError      the candidate has no tool of that name
│   ├── PromptNotFoundError    the candidate has no prompt of that name
│   └── InvalidArgumentsError  the arguments do not fit the candidate's schema
├── MaybeExecutedError         may have run: sent again only if the call is idempotent
│   ├── DeadlineExceededError  the deadline passed while the call ran
│   └── UpstreamError          the server died or broke the protocol, or its worker died
└── RefusedError               asking again cannot help
    ├── UpstreamRefusedError   the server answered with a JSON-RPC error
    ├── ResultTooLargeError    the result is over the cap
    ├── ToolFailedError        the tool says that it failed: for callers who take no results of MCP
    ├── InvalidJsonError · PayloadTooLargeError · UnsupportedMediaTypeError · InvalidRequestError
    ├── AmbiguousToolError · ServerNotFoundError
    ├── UnauthorizedError · ForbiddenError
    ├── IssuerUnavailableError  no key is known that access tokens could be checked with
    ├── RateLimitedError       the caller is over its limit
    ├── IdempotencyConflictError     the key was used with another body
    └── IdempotencyUnavailableError  the store of idempotency keys is away or not fit for them
"""

from collections.abc import Sequence
from typing import ClassVar

from bus_schemas.errors import ERRORS, ErrorCode, Executed, FieldError


class QueryError(Exception):
    """A query that gets no result. What the caller is told comes from `bus_schemas.errors` alone."""

    code: ClassVar[ErrorCode]

    def __init__(
        self,
        *,
        errors: Sequence[FieldError] = (),
        mcp_error: bytes | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Keep what else the caller is told.

        Args:
            errors: the fields that are wrong.
            mcp_error: the server's JSON-RPC error object, byte for byte.
            retry_after_s: when asking again makes sense, in seconds.
        """
        super().__init__(self.code.value)
        self.errors = tuple(errors)
        self.mcp_error = mcp_error
        self.retry_after_s = retry_after_s

    @property
    def executed(self) -> Executed:
        """`no` if the call certainly never ran."""
        return ERRORS[self.code].executed


class NotExecutedError(QueryError):
    """The call certainly never ran."""

    @property
    def executed(self) -> Executed:
        return "no"


class NoWorkerError(NotExecutedError):
    """No worker answered on the server's subject."""

    code = ErrorCode.SERVER_UNAVAILABLE


class OverloadedError(NotExecutedError):
    """No slot came free within the deadline."""

    code = ErrorCode.OVERLOADED


class CircuitOpenError(NotExecutedError):
    """The server's version failed repeatedly, or an operator isolated it: its breaker lets no call through."""

    code = ErrorCode.CIRCUIT_OPEN


class MaintenanceError(NotExecutedError):
    """An operator has taken the server out."""

    code = ErrorCode.MAINTENANCE


class DeadlinePassedError(NotExecutedError):
    """The deadline passed before the call was handed to the server."""

    code = ErrorCode.TIMEOUT


class ToolNotFoundError(NotExecutedError):
    """The candidate lives, and has no tool of that name."""

    code = ErrorCode.TOOL_NOT_FOUND


class PromptNotFoundError(NotExecutedError):
    """The candidate lives, and has no prompt of that name."""

    code = ErrorCode.PROMPT_NOT_FOUND


class InvalidArgumentsError(NotExecutedError):
    """The arguments do not fit the candidate's input schema."""

    code = ErrorCode.INVALID_ARGUMENTS


class MaybeExecutedError(QueryError):
    """The call may have run."""

    holder: str | None = None
    """The worker that had it, where that is known."""


class DeadlineExceededError(MaybeExecutedError):
    """The deadline, or the server's own time limit, passed while the call ran."""

    code = ErrorCode.TIMEOUT


class UpstreamError(MaybeExecutedError):
    """The server died or broke the protocol, or the worker that held the call died."""

    code = ErrorCode.UPSTREAM_ERROR


class InternalError(MaybeExecutedError):
    """A bug of ours."""

    code = ErrorCode.INTERNAL


class RefusedError(QueryError):
    """Asking again cannot help."""


class UpstreamRefusedError(RefusedError):
    """The server answered with a JSON-RPC error."""

    code = ErrorCode.UPSTREAM_REFUSED


class ResultTooLargeError(RefusedError):
    """The result is over the cap."""

    code = ErrorCode.RESULT_TOO_LARGE


class ToolFailedError(RefusedError):
    """The tool says that it failed, or asks something back. Callers of MCP get that as the result that it is."""

    code = ErrorCode.TOOL_ERROR


class InvalidJsonError(RefusedError):
    """The body is not I-JSON."""

    code = ErrorCode.INVALID_JSON


class PayloadTooLargeError(RefusedError):
    """The body is over 1 MiB."""

    code = ErrorCode.PAYLOAD_TOO_LARGE


class UnsupportedMediaTypeError(RefusedError):
    """The body is not declared to be JSON."""

    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class InvalidRequestError(RefusedError):
    """A field is missing, unknown or malformed."""

    code = ErrorCode.INVALID_REQUEST


class AmbiguousToolError(RefusedError):
    """Several unrelated servers offer what was asked for without a server."""

    code = ErrorCode.AMBIGUOUS_TOOL


class ServerNotFoundError(RefusedError):
    """No server of that name is configured or was ever announced."""

    code = ErrorCode.SERVER_NOT_FOUND


class UnauthorizedError(RefusedError):
    """There is no key, or not a valid one."""

    code = ErrorCode.UNAUTHORIZED


class IssuerUnavailableError(RefusedError):
    """No key of the issuer of access tokens is known: whether a token is a good one cannot be told."""

    code = ErrorCode.ISSUER_UNAVAILABLE


class ForbiddenError(RefusedError):
    """The key lacks the scope or the right."""

    code = ErrorCode.FORBIDDEN


class RateLimitedError(RefusedError):
    """The caller is over its limit."""

    code = ErrorCode.RATE_LIMITED


class IdempotencyConflictError(RefusedError):
    """The idempotency key was used with another body."""

    code = ErrorCode.IDEMPOTENCY_CONFLICT


class IdempotencyUnavailableError(RefusedError):
    """The store of idempotency keys is away, full, or drops what it holds."""

    code = ErrorCode.IDEMPOTENCY_UNAVAILABLE
