"""An answer on its way to an HTTP caller: counted as held until the caller has taken it, or has gone."""

from collections.abc import Mapping
from typing import Final

from fastapi import Response
from starlette.types import Receive, Scope, Send

from services.orchestrator.admission import Admission

_PIECE_BYTES: Final = 64 * 1024
"""As much as uvicorn takes without waiting for the caller."""


class StreamedResponse(Response):
    """What writes itself as it goes: there is neither a body nor a length before it begins."""

    def __init__(self) -> None:
        self.status_code = 200
        self.body = b""
        self.background = None
        self.raw_headers = []


class HeldResponse(Response):
    """Writes a body piece by piece, each when the caller has taken those before it, and counts it until then.

    Written whole, it would be copied into the connection's buffer, and be out of sight there until a slow caller has
    read it.
    """

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str], admission: Admission) -> None:
        # Without Starlette's own, which looks for what is not there.
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            *[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        ]
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._admission.holding() as hold:
            hold.add(len(self.body))
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await write_in_pieces(self.body, send)


async def write_in_pieces(body: bytes | memoryview, send: Send) -> None:
    """Write the rest of a body, each piece when the caller has taken those before it."""
    rest = memoryview(body)
    while len(rest) > _PIECE_BYTES:
        await send({"type": "http.response.body", "body": bytes(rest[:_PIECE_BYTES]), "more_body": True})
        rest = rest[_PIECE_BYTES:]
    await send({"type": "http.response.body", "body": bytes(rest), "more_body": False})


async def until_hung_up(receive: Receive) -> None:
    """Return when the caller has gone, or has its whole answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
