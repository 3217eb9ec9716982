"""A server whose every answer is another: `python -m tests.support.mcp_servers.clock --ledger FILE`, over stdio.

Each call is noted in the ledger under its `key`; a read of a resource under its URI.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from tests.support.ledger import Ledger

PUBLIC, PRIVATE, UNCACHED = "clock://public", "clock://private", "clock://uncached"
_RESOURCES = {PUBLIC: (60_000, "public"), PRIVATE: (60_000, "private"), UNCACHED: (0, "private")}
_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"key": {"type": "string"}, "ms": {"type": "integer"}, "fail": {"type": "string"}},
}


def create_server(ledger: Ledger) -> Server[Any]:
    """Return the server."""
    refused: set[str] = set()

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        reads = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
        hinted = types.Tool(name="hinted", input_schema=_INPUT, annotations=reads)
        return types.ListToolsResult(tools=[types.Tool(name="now", input_schema=_INPUT), hinted])

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        asked = params.arguments or {}
        key = str(asked.get("key", "-"))
        await ledger.note(key, "start")
        await anyio.sleep(asked.get("ms", 0) / 1000)
        if asked.get("fail") == "from the second on":
            if key in refused:
                raise MCPError(types.INVALID_PARAMS, "asked to fail")
            refused.add(key)
        if asked.get("fail") == "ask":
            return types.InputRequiredResult(request_state=str(time.time_ns()))
        text = types.TextContent(text=json.dumps({"key": key, "at": time.time()}))
        return types.CallToolResult(content=[text], is_error=asked.get("fail") == "error")

    async def list_resources(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(uri=uri, name=uri) for uri in _RESOURCES])

    async def read_resource(
        _context: ServerRequestContext[Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        await ledger.note(params.uri, "start")
        ttl_ms, scope = _RESOURCES[params.uri]
        contents = [types.TextResourceContents(uri=params.uri, text=json.dumps({"at": time.time()}))]
        return types.ReadResourceResult(contents=contents, ttl_ms=ttl_ms, cache_scope=scope)

    return Server(
        "clock",
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def main() -> None:
    """Serve over stdio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ledger", type=Path, required=True)
    ledger = Ledger(parser.parse_args().ledger)

    async def serve() -> None:
        async with stdio_server() as (read, write):
            server = create_server(ledger)
            await server.run(read, write, server.create_initialization_options())

    try:
        anyio.run(serve)
    finally:
        ledger.close()


if __name__ == "__main__":
    main()
