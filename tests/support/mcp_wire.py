"""An MCP client of the handshake era, request by request: what a test wants to say to which orchestrator, and when."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

VERSION = "2025-11-25"
ACCEPT = "application/json, text/event-stream"


class LegacyClient:
    """One session; each message goes to the orchestrator that the test names."""

    def __init__(self, clients: list[httpx.AsyncClient], path: str = "/mcp", key: str | None = None) -> None:
        self._clients = clients
        self._path = path
        self._headers = {"accept": ACCEPT, "content-type": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._next_id = 0

    @property
    def session_id(self) -> str:
        """As the server gave it."""
        return self._headers["mcp-session-id"]

    async def shake_hands(self, capabilities: Mapping[str, Any] | None = None, *, orchestrator: int = 0) -> Any:
        """Begin the session; return the result."""
        hello = {
            "protocolVersion": VERSION,
            "capabilities": dict(capabilities or {}),
            "clientInfo": {"name": "wire", "version": "1"},
        }
        response = await self.post(self.request("initialize", hello), orchestrator=orchestrator)
        assert response.status_code == 200, response.text
        self._headers |= {"mcp-session-id": response.headers["mcp-session-id"], "mcp-protocol-version": VERSION}
        greeted = await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, orchestrator=orchestrator)
        assert greeted.status_code == 202
        return response.json()["result"]

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a request with an id of its own."""
        self._next_id += 1
        return {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": dict(params or {})}

    async def post(self, message: Mapping[str, Any], *, orchestrator: int = 0) -> httpx.Response:
        """POST one message and read the whole reply."""
        return await self._clients[orchestrator].post(self._path, json=message, headers=self._headers)

    async def ask(self, method: str, params: Mapping[str, Any] | None = None, *, orchestrator: int = 0) -> Any:
        """Send a request; return its JSON-RPC response."""
        messages = [one async for one in self._messages(self.request(method, params), orchestrator)]
        return messages[-1]

    @asynccontextmanager
    async def asking(self, message: Mapping[str, Any], *, orchestrator: int = 0) -> AsyncIterator[AsyncIterator[Any]]:
        """Send a request; yield the messages of its reply as they come."""
        messages = self._messages(message, orchestrator)
        try:
            yield messages
        finally:
            await messages.aclose()

    @asynccontextmanager
    async def listening(self, *, orchestrator: int = 0) -> AsyncIterator[httpx.Response]:
        """Open the stream beside those of requests; yield its response."""
        headers = {**self._headers, "accept": "text/event-stream"}
        async with self._clients[orchestrator].stream("GET", self._path, headers=headers) as response:
            yield response

    async def _messages(self, message: Mapping[str, Any], orchestrator: int) -> Any:
        client = self._clients[orchestrator]
        async with client.stream("POST", self._path, json=message, headers=self._headers) as response:
            if response.headers["content-type"] != "text/event-stream":
                yield json.loads(await response.aread())
                return
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))
