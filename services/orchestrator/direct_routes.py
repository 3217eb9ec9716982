"""The requests of which there are many, on their short way: ahead of ASGI and FastAPI, which take longer than we do."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Response
from starlette.types import Receive, Scope, Send

from services.orchestrator import api
from services.orchestrator.intake import RequestHeaders
from services.orchestrator.mcp import api as mcp_api
from services.orchestrator.protected_resource import FOR_MCP_CLIENTS, Challenges
from services.runtime.auth.tokens import TokenRules
from services.runtime.errors import InternalError, QueryError
from services.runtime.http import AddressGuard, announcing_close, problem_response
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from services.runtime.plain_heads import PlainHead
from services.runtime.plain_requests import Answering, DirectApp

log = logging.getLogger(__name__)

_SUBSCRIPTION: Final = (b"mcp-method", b"subscriptions/listen")
"""The header of a stream that goes on for hours; of whoever asks for one without it, it is refused."""

State = Mapping[str, Any]
_Ask = Callable[[State, RequestHeaders, bytes, Send], Awaitable[Response | None]]


class DirectRoutes(DirectApp):
    """Answers plain queries and requests of MCP directly; everything else is left to the app, which guards itself."""

    def __init__(self, app: FastAPI, *, names: Names, life: Lifecycle, rules: TokenRules | None) -> None:
        """Take the app, and what a request must pass here as any other does there."""
        self._app = app
        self._life = life
        self._guard = AddressGuard(app, names=names, life=life)
        self._challenges = None if rules is None else Challenges(app, rules=rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._app(scope, receive, send)

    def direct(self, head: PlainHead) -> Answering | None:
        """See `DirectApp.direct`."""
        ask = _route(head)
        if ask is None or self._guard.refusal(head.headers) is not None:
            return None
        headers = RequestHeaders(head.headers)

        async def answer(state: State, body: bytes, send: Send) -> Response | None:
            if self._life.stopping.is_set():
                send = announcing_close(send)
            try:
                response = await ask(state, headers, body, send)
            except QueryError as error:
                response = problem_response(error)
            except Exception:
                log.exception("request failed")
                response = problem_response(InternalError())
            if response is not None:
                self._complete(response, head.path, headers)
            return response

        return answer

    def _complete(self, response: Response, path: str, headers: RequestHeaders) -> None:
        if self._challenges is not None:
            self._challenges.add(response.headers, response.status_code, path, headers.first("authorization"))
        if self._life.stopping.is_set():
            response.headers["connection"] = "close"


def _route(head: PlainHead) -> _Ask | None:
    if head.method != "POST":
        return None
    if head.path == "/v1/query":
        return _query
    found = FOR_MCP_CLIENTS.fullmatch(head.path)
    if found is None or head.query or _SUBSCRIPTION in head.headers:
        return None
    return partial(_mcp, found[1])


async def _query(state: State, headers: RequestHeaders, body: bytes, _: Send) -> Response:
    return await api.ask_whole(state["orchestrator"], headers, body)


async def _mcp(server: str | None, state: State, headers: RequestHeaders, body: bytes, send: Send) -> Response | None:
    return await mcp_api.ask_whole(state["orchestrator"], state["mcp"], headers, body, send, server=server)
