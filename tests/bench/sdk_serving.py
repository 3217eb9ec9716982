"""A server of the official SDK with one tool, over HTTP or over its standard streams."""

import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server


def serve(name: str, properties: dict[str, Any], required: str, answer: Callable[[dict[str, Any]], str]) -> None:
    """Serve until the process is ended: streamable HTTP, whose URL is the first line on stdout; stdio with `--stdio`.

    Args:
        name: of the server's one tool.
        properties: its arguments, as JSON Schema has them.
        required: the one that there must be.
        answer: gives the text of a result for the arguments of a call.
    """
    schema = {"type": "object", "properties": properties, "required": [required], "additionalProperties": False}
    server = _create_server(name, schema, answer)
    how = _over_stdio if "--stdio" in sys.argv else _over_http
    anyio.run(how, server, backend_options={"use_uvloop": True})


def _create_server(name: str, schema: dict[str, Any], answer: Callable[[dict[str, Any]], str]) -> Server[Any]:
    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=schema)])

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text=answer(params.arguments or {}))])

    return Server(
        name,
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        # Without the schema look-up the SDK runs the whole tools/list handler before each call over HTTP.
        get_tool_input_schema=lambda _name: schema,
    )


async def _over_http(server: Server[Any]) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    app = server.streamable_http_app(host="127.0.0.1", json_response=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


async def _over_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
