"""POST /v1/query on its short way: ahead of FastAPI, which describes it, and takes longer for a request than we do."""

import logging
from typing import Final

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from services.orchestrator.api import ask
from services.orchestrator.protected_resource import Challenges
from services.runtime.auth.tokens import TokenRules
from services.runtime.errors import InternalError
from services.runtime.http import AddressGuard, problem_response
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle

log = logging.getLogger(__name__)

_PATH: Final = "/v1/query"


class QueryRoute:
    """ASGI: answers queries, and leaves everything else to the app, which guards itself."""

    def __init__(self, app: FastAPI, *, names: Names, life: Lifecycle, rules: TokenRules | None) -> None:
        """Take the app, and what a query must pass as any other request does."""
        self._app = app
        answer: ASGIApp = _answer if rules is None else Challenges(_answer, rules=rules)
        self._answer = AddressGuard(answer, names=names, life=life)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == _PATH and scope["method"] == "POST":
            await self._answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        response = await ask(scope, receive)
    except ClientDisconnect:
        return
    except Exception:
        log.exception("request failed")
        response = problem_response(InternalError())
    await response(scope, receive, send)
