"""The way of an MCP client of the handshake era: it shakes hands once, and calls in that session from then on."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.bench.components import Components
from tests.bench.ways import ARGUMENTS, JSON, Way, call_body

VERSION: Final = "2025-11-25"

_TIMEOUT_S: Final = 60.0
_HELLO: Final = {
    "protocolVersion": VERSION,
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


async def session_headers(url: str, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Shake hands with the MCP server at `url`; return the headers of all that follows.

    Raises:
        httpx.HTTPError: it did not take the handshake.
    """
    sent = {**JSON, "accept": "application/json, text/event-stream", **(headers or {})}
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, headers=sent) as client:
        greeted = await client.post(url, json=_message("initialize", _HELLO) | {"id": 1})
        greeted.raise_for_status()
        sent["mcp-protocol-version"] = VERSION
        if "mcp-session-id" in greeted.headers:
            sent["mcp-session-id"] = greeted.headers["mcp-session-id"]
        answer = await client.post(url, json=_message("notifications/initialized", {}), headers=sent)
        answer.raise_for_status()
    return sent


async def session_way(name: str, url: str, components: Components, *, tool: str = "echo", **headers: str) -> Way:
    """Return the way of calls of `tool` in a session of its own."""
    sent = await session_headers(url, headers)
    return Way(name, url, sent, call_body({"name": tool, "arguments": ARGUMENTS}), components)


def _message(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": dict(params)}
