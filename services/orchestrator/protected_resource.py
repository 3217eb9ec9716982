"""Where callers get access tokens: told in the challenge of a 401, and in the metadata that it points to.

Sources: RFC 9728 (metadata), RFC 6750 (challenges); MCP 2026-07-28, Authorization.
"""

import re
from typing import Any, Final

from fastapi import APIRouter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bus_schemas.errors import ErrorCode
from bus_schemas.names import ServerName
from services.runtime.auth.authentication import bearer_text
from services.runtime.auth.tokens import TokenRules, looks_like_token
from services.runtime.openapi import problems

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
FOR_MCP_CLIENTS: Final = re.compile(r"/mcp|/servers/([A-Za-z0-9_-]{1,64})/mcp")
"""The paths of MCP's endpoints; of one server's, with its name."""
_ERRORS: Final = problems(ErrorCode.FORBIDDEN, ErrorCode.MISDIRECTED_REQUEST)


def metadata(rules: TokenRules, path: str = "") -> dict[str, Any]:
    """Return the metadata of what is at `path`: each address for MCP clients is a resource, and so is all of us."""
    return {
        "resource": rules.resource + path,
        "authorization_servers": [rules.issuer],
        "scopes_supported": [rules.query_scope],
        "bearer_methods_supported": ["header"],
        "resource_name": "Busbar",
    }


def metadata_routes(rules: TokenRules) -> APIRouter:
    """Return the routes under which the metadata are read, without a key."""
    router = APIRouter(prefix=WELL_KNOWN, tags=["authorization"])

    @router.get("", summary="Where tokens for all of this service come from", responses=_ERRORS)
    async def of_all() -> dict[str, Any]:
        return metadata(rules)

    @router.get("/mcp", summary="Where tokens for /mcp come from", responses=_ERRORS)
    async def of_mcp() -> dict[str, Any]:
        return metadata(rules, "/mcp")

    @router.get(
        "/servers/{server}/mcp",
        summary="Where tokens for one server's address come from",
        responses=_ERRORS | problems(ErrorCode.INVALID_REQUEST),
    )
    async def of_server(server: ServerName) -> dict[str, Any]:
        return metadata(rules, f"/servers/{server}/mcp")

    return router


class Challenges:
    """ASGI middleware: a 401 says where tokens come from, and a 403 to a token which scope is missing."""

    def __init__(self, app: ASGIApp, *, rules: TokenRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            send = self._challenging(scope, send)
        await self._app(scope, receive, send)

    def _challenging(self, scope: Scope, send: Send) -> Send:
        async def send_with_challenge(message: Message) -> None:
            if message["type"] == "http.response.start":
                authorization = Headers(scope=scope).get("authorization")
                self.add(MutableHeaders(scope=message), message["status"], scope["path"], authorization)
            await send(message)

        return send_with_challenge

    def add(self, headers: MutableHeaders, status: int, path: str, authorization: str | None) -> None:
        """Add the challenge to an answer's headers if its status asks for one.

        Args:
            headers: of the answer.
            status: its own.
            path: that was asked.
            authorization: the request's header.
        """
        if status not in (401, 403):
            return
        has_token = looks_like_token(bearer_text(authorization or ""))
        if status == 401 or has_token:
            headers["www-authenticate"] = self._challenge(path, status, has_token=has_token)

    def _challenge(self, path: str, status: int, *, has_token: bool) -> str:
        place = path if FOR_MCP_CLIENTS.fullmatch(path) else ""
        parts = ['realm="busbar"', f'resource_metadata="{self._rules.resource}{WELL_KNOWN}{place}"']
        if has_token:
            parts.append('error="invalid_token"' if status == 401 else 'error="insufficient_scope"')
        parts.append(f'scope="{self._rules.query_scope}"')
        return "Bearer " + ", ".join(parts)
