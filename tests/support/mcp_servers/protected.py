"""An MCP server behind a bearer check, and the token endpoint that opens it; both in the test's own event loop."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from services.runtime.config.connections import OAuth
from tests.support.mcp_servers.raw_http import DISCOVERED, Handler, RawServer, Request, raw_server

CLIENT_ID, CLIENT_SECRET, SCOPE = "me:and/my +id", "planted%secret:of the&client", "read write"


class TokenEndpoint:
    """Gives tokens to the one client it knows; the attributes say how."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.issued: list[str] = []
        self.good: set[str] = set()
        """The tokens that the MCP server takes."""
        self.lifetime_s: float | None = 3600
        self.takes_basic = True
        self.issues_good_ones = True
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.instead: Handler | None = None
        """Answers in its place."""

    def revoke(self) -> None:
        """Make every token that was issued a bad one."""
        self.good.clear()

    async def handle(self, request: Request, reader: asyncio.StreamReader) -> None:
        """Answer one request."""
        self.requests.append(request)
        await self.may_answer.wait()
        if self.instead is not None:
            await self.instead(request, reader)
            return
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("grant_type") != "client_credentials" or form.get("scope") != SCOPE:
            await request.answer(b'{"error":"invalid_request"}', status=400)
        elif self._client(request, form) != (CLIENT_ID, CLIENT_SECRET):
            await request.answer(b'{"error":"invalid_client"}', status=401)
        else:
            token = f"planted-token-{secrets.token_hex(8)}"
            self.issued.append(token)
            if self.issues_good_ones:
                self.good.add(token)
            lifetime = {} if self.lifetime_s is None else {"expires_in": self.lifetime_s}
            await request.answer(json.dumps({"access_token": token, "token_type": "Bearer", **lifetime}).encode())

    def _client(self, request: Request, form: dict[str, str]) -> tuple[str, str]:
        if not self.takes_basic:
            return form.get("client_id", ""), form.get("client_secret", "")
        user, _, password = base64.b64decode(request.headers["authorization"][len("Basic ") :]).decode().partition(":")
        return unquote_plus(user), unquote_plus(password)


class Protected:
    """The MCP server: over streamable HTTP, and at another path over SSE; calls that it ran, refusals it gave."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self.endpoint = endpoint
        self.calls: list[Request] = []
        self.refused: list[Request] = []
        self._stream: Request | None = None

    async def handle(self, request: Request, reader: asyncio.StreamReader) -> None:
        """Answer one request; a call's result tells the headers that it came with."""
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.endpoint.good:
            self.refused.append(request)
            await request.answer(b'{"error":"invalid_token"}', status=401, headers="www-authenticate: Bearer\r\n")
        elif request.method == "GET":
            self._stream = request
            await request.begin_events()
            await request.write(b"event: endpoint\ndata: /messages\n\n")
            await request.wait_until_closed(reader)
        elif self._stream is not None:
            await request.answer(b"Accepted", status=202, kind="text/plain")
            if "id" in request.json:
                message = json.dumps({"jsonrpc": "2.0", "id": request.json["id"], "result": self._result(request)})
                await self._stream.write(f"event: message\ndata: {message}\n\n".encode())
        else:
            await request.result(json.dumps(self._result(request)).encode())

    def _result(self, request: Request) -> Any:
        match request.json["method"]:
            case "server/discover":
                return {**json.loads(DISCOVERED), "capabilities": {"tools": {}}}
            case "initialize":
                return {
                    "protocolVersion": "2024-11-05",
                    "capabilities": {},
                    "serverInfo": {"name": "p", "version": "1"},
                }
            case "tools/list":
                return {"tools": [{"name": "headers", "inputSchema": {"type": "object"}}]}
            case "tools/call":
                self.calls.append(request)
                return {"content": [], "structuredContent": dict(request.headers)}
        return {}


class Running:
    """Both, and where they are."""

    def __init__(self, endpoint: TokenEndpoint, mcp: Protected, token_server: RawServer, mcp_server: RawServer) -> None:
        self.endpoint = endpoint
        self.mcp = mcp
        self.token_url = token_server.url
        self.url = mcp_server.url
        self.oauth = OAuth(token_url=self.token_url, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, scope=SCOPE)

    def secrets(self) -> list[str]:
        """What must be in no log and no answer."""
        basic = [one.headers["authorization"][6:] for one in self.endpoint.requests if "authorization" in one.headers]
        return [CLIENT_ID, CLIENT_SECRET, self.token_url, self.url, *basic, *self.endpoint.issued]


@asynccontextmanager
async def protected_server() -> AsyncIterator[Running]:
    """Run both on free ports."""
    endpoint = TokenEndpoint()
    mcp = Protected(endpoint)
    async with AsyncExitStack() as stack:
        token_server = await stack.enter_async_context(raw_server(endpoint.handle, discovers=False))
        mcp_server = await stack.enter_async_context(raw_server(mcp.handle, discovers=False))
        yield Running(endpoint, mcp, token_server, mcp_server)
