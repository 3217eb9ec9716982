"""The console's own way to the API under /v1: the same routes, and so the same checks, controls and audit lines."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from starlette.types import Message

_PASSED_ON: Final = frozenset({b"host", b"cookie", b"origin", b"sec-fetch-site"})
"""By these headers the API knows who asks, and that a page of ours does."""
_OF_THE_CONNECTION: Final = ("type", "asgi", "http_version", "scheme", "client", "server", "root_path")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API answers."""

    status: int
    document: Mapping[str, Any]

    @property
    def is_problem(self) -> bool:
        """Whether it was not done; else the document says what was."""
        return "code" in self.document


async def ask_api(
    request: Request, method: str, path: str, body: Mapping[str, Any] | None, *, csrf_token: str
) -> Reply:
    """Ask the API in the name of whoever has sent `request`.

    Args:
        request: a form of the console.
        method: of the operation.
        path: of the operation, not quoted.
        body: what it takes; None: nothing.
        csrf_token: as the form has it.
    """
    content = b"" if body is None else json.dumps(body).encode()
    headers = [(name, value) for name, value in request.scope["headers"] if name in _PASSED_ON]
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"x-csrf-token", csrf_token.encode("latin-1", "replace")),
    ]
    scope = {
        **{name: request.scope[name] for name in _OF_THE_CONNECTION if name in request.scope},
        "method": method,
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": b"",
        "headers": headers,
        "state": dict(request.scope["state"]),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await request.app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    return Reply(sent[0]["status"], json.loads(answer))
