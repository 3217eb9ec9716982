"""A server of the official SDK that learns new tools, and says so: `python -m tests.support.mcp_servers.changing`.

It never says so in the answer of the call that taught it: in the modern era on the stream of a subscription, in the
handshake era on the one that belongs to no request. With `--port N` it serves HTTP, with `--sse` the old transport.
"""

import argparse
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer


def build_server() -> MCPServer:
    """Return the server."""
    server = MCPServer("changing", version="1.0.0")

    async def learned() -> str:
        """Do what was learnt."""
        return "done"

    @server.tool()
    async def learn(names: list[str], ctx: Context[Any]) -> str:
        """Learn tools, and say so after each of them."""
        is_modern = ctx.request_context.protocol_version == "2026-07-28"
        for name in names:
            server.add_tool(learned, name=name)
            if is_modern:
                await ctx.notify_tools_changed()
            else:
                await ctx.session.send_tool_list_changed()
        return "learnt"

    return server


def main() -> None:
    """Serve over stdio, or over HTTP on a port of the loopback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--sse", action="store_true")
    options = parser.parse_args()
    server = build_server()
    if options.port is None:
        server.run("stdio")
    else:
        app = server.sse_app() if options.sse else server.streamable_http_app()
        uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
