"""What every request that leads to a query goes through: its body within bounds, or why it gets no further."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from fastapi import Response
from starlette.types import Receive

from bus_schemas.queries import MAX_BODY_BYTES
from services.orchestrator.admission import Hold
from services.orchestrator.state import OrchestratorState
from services.orchestrator.writing import HeldResponse
from services.runtime.errors import QueryError, UnsupportedMediaTypeError
from services.runtime.http import BodyTimeoutError, read_body

_BODY_TIMEOUT_S: Final = 30.0
"""As long as a query has that does not say; the largest body needs 35 kB/s for it."""


class RequestHeaders:
    """The headers of an HTTP request, each read once; see `HeaderValues`."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take them as ASGI has them: names in lower case."""
        self._values: dict[str, list[str]] = {}
        for name, value in headers:
            self._values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def __call__(self, name: str) -> Sequence[str]:
        return self._values.get(name, ())

    @property
    def names(self) -> Collection[str]:
        return self._values.keys()

    def first(self, name: str) -> str | None:
        """Return the value that came first; None if there is none."""
        values = self._values.get(name)
        return None if values is None else values[0]

    def joined(self, name: str) -> str | None:
        """Return all values as one list (RFC 9110, section 5.3); None if there is none."""
        values = self._values.get(name)
        return None if values is None else ", ".join(values)


async def read_json_body(receive: Receive, headers: RequestHeaders, hold: Hold) -> bytes:
    """Return the whole body, counted by `hold`.

    Raises:
        BodyTimeoutError, PayloadTooLargeError: as `read_body` does.
        UnsupportedMediaTypeError: it does not claim to be JSON.
    """
    body = await read_body(receive, MAX_BODY_BYTES, timeout_s=_BODY_TIMEOUT_S, on_part=hold.add)
    check_is_json(headers)
    return body


def check_is_json(headers: RequestHeaders) -> None:
    """Raise UnsupportedMediaTypeError if the body does not claim to be JSON."""
    if (headers.first("content-type") or "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaTypeError


def refused(state: OrchestratorState, error: QueryError, request_id: str, received_at: float) -> Response:
    """Return the problem for a request that gets no further, and count it."""
    reply = state.queries.refuse(error, request_id, received_at)
    headers = {"content-type": reply.content_type, **reply.headers}
    if isinstance(error, BodyTimeoutError):
        headers["connection"] = "close"
    return HeldResponse(reply.body, reply.status, headers, state.admission)
