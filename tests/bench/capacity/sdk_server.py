"""A server of the official SDK whose results are as large as one asks: `python -m tests.bench.capacity.sdk_server`.

Over streamable HTTP, in both eras; its URL is the first line on stdout. With `--stdio` over stdio.
"""

import argparse
import socket
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"bytes": {"type": "integer"}, "number": {"type": "integer"}},
    "required": ["bytes"],
    "additionalProperties": False,
}


def create_server() -> Server[Any]:
    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="answer", input_schema=_SCHEMA)])

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        size: int = (params.arguments or {})["bytes"]
        return types.CallToolResult(content=[types.TextContent(text="x" * size)])

    return Server(
        "sized",
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        # Without the schema look-up the SDK runs the whole tools/list handler before each call over HTTP.
        get_tool_input_schema=lambda _name: _SCHEMA,
    )


async def serve_http() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    app = create_server().streamable_http_app(host="127.0.0.1", json_response=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


async def serve_stdio() -> None:
    server = create_server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stdio", action="store_true")
    serve = serve_stdio if parser.parse_args().stdio else serve_http
    anyio.run(serve, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
