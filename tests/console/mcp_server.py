"""An MCP server in the test's own event loop: it offers what the test likes, and answers every call at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.mcp_servers.raw_http import Request, raw_server

_ANSWER = b'{"content":[{"type":"text","text":"done"}]}'


@asynccontextmanager
async def offering(*tools: dict[str, Any], name: str = "plain", version: str = "1.0.0") -> AsyncIterator[str]:
    """Offer `tools`, under whatever name and version; yield where."""
    about = {"io.modelcontextprotocol/serverInfo": {"name": name, "version": version}}
    discovered = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "_meta": about}

    async def handle(request: Request, _: asyncio.StreamReader) -> None:
        match request.json["method"]:
            case "server/discover":
                await request.result(json.dumps({**discovered, "resultType": "complete"}).encode())
            case "tools/list":
                await request.result(json.dumps({"tools": tools}).encode())
            case _:
                await request.result(_ANSWER)

    async with raw_server(handle, discovers=False) as server:
        yield server.url


def tool(name: str, description: str = "") -> dict[str, Any]:
    """The definition of a tool that takes anything."""
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}
