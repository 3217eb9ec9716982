"""What every request that leads to a query goes through: its body within bounds, or why it gets no further."""

from typing import Final

from fastapi import Request, Response

from bus_schemas.queries import MAX_BODY_BYTES
from services.orchestrator.admission import Hold
from services.orchestrator.state import OrchestratorState
from services.orchestrator.writing import HeldResponse
from services.runtime.errors import QueryError, UnsupportedMediaTypeError
from services.runtime.http import BodyTimeoutError, read_body

_BODY_TIMEOUT_S: Final = 30.0
"""As long as a query has that does not say; the largest body needs 35 kB/s for it."""


async def read_json_body(request: Request, hold: Hold) -> bytes:
    """Return the whole body, counted by `hold`.

    Raises:
        BodyTimeoutError, PayloadTooLargeError: as `read_body` does.
        UnsupportedMediaTypeError: it does not claim to be JSON.
    """
    body = await read_body(request, MAX_BODY_BYTES, timeout_s=_BODY_TIMEOUT_S, on_part=hold.add)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaTypeError
    return body


def refused(state: OrchestratorState, error: QueryError, request_id: str, received_at: float) -> Response:
    """Return the problem for a request that gets no further, and count it."""
    reply = state.queries.refuse(error, request_id, received_at)
    headers = {"content-type": reply.content_type, **reply.headers}
    if isinstance(error, BodyTimeoutError):
        headers["connection"] = "close"
    return HeldResponse(reply.body, reply.status, headers, state.admission)
