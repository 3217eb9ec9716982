"""POST /v1/query on its short way: ahead of ASGI and FastAPI, which describes it, and takes longer than we do."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Response
from starlette.types import Receive, Scope, Send

from services.orchestrator.api import ask_whole
from services.orchestrator.intake import RequestHeaders
from services.orchestrator.protected_resource import Challenges
from services.runtime.auth.tokens import TokenRules
from services.runtime.errors import InternalError
from services.runtime.http import AddressGuard, problem_response
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from services.runtime.plain_heads import PlainHead
from services.runtime.plain_requests import Answering, DirectApp

log = logging.getLogger(__name__)

_PATH: Final = "/v1/query"


class QueryRoute(DirectApp):
    """Answers plain queries directly, and leaves everything else to the app, which guards itself."""

    def __init__(self, app: FastAPI, *, names: Names, life: Lifecycle, rules: TokenRules | None) -> None:
        """Take the app, and what a query must pass as any other request does."""
        self._app = app
        self._life = life
        self._guard = AddressGuard(app, names=names, life=life)
        self._challenges = None if rules is None else Challenges(app, rules=rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._app(scope, receive, send)

    def direct(self, head: PlainHead) -> Answering | None:
        """See `DirectApp.direct`."""
        if head.method != "POST" or head.path != _PATH or self._guard.refusal(head.headers) is not None:
            return None
        return partial(self._answer, RequestHeaders(head.headers))

    async def _answer(self, headers: RequestHeaders, state: Mapping[str, Any], body: bytes) -> Response:
        try:
            response = await ask_whole(state["orchestrator"], headers, body)
        except Exception:
            log.exception("request failed")
            response = problem_response(InternalError())
        if self._challenges is not None:
            self._challenges.add(response.headers, response.status_code, _PATH, headers.first("authorization"))
        if self._life.stopping.is_set():
            response.headers["connection"] = "close"
        return response
