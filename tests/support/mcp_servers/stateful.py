"""A server of the official SDK that remembers: `python -m tests.support.mcp_servers.stateful [--port N]`.

Over stdio each process has a count of its own, over HTTP each session of the handshake era.
"""

import argparse
import os
from collections import Counter
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

_SURE = {"type": "object", "properties": {"sure": {"type": "boolean"}}}


def build_server() -> MCPServer:
    """Return the server."""
    server = MCPServer("stateful", version="1.0.0")
    counts: Counter[str | None] = Counter()

    @server.tool()
    async def count(ctx: Context[Any]) -> dict[str, int]:
        """Count on."""
        request = ctx.request_context.request
        session = None if request is None else request.headers.get("mcp-session-id")
        counts[session] += 1
        return {"count": counts[session], "pid": os.getpid()}

    @server.tool()
    async def buy(ctx: Context[Any]) -> str | InputRequiredResult:
        """Ask back, with a state that only this process can open; then say who was asked and who has the answer."""
        if ctx.request_state is None:
            form = ElicitRequestFormParams(message="sure?", requested_schema=_SURE)
            asked = {"sure": ElicitRequest(params=form)}
            return InputRequiredResult(input_requests=asked, request_state=f"asked by {os.getpid()}")
        return f"{ctx.request_state}, bought from {os.getpid()}"

    return server


def main() -> None:
    """Serve over stdio, or over HTTP on a port of the loopback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    server = build_server()
    if options.port is None:
        server.run("stdio")
    else:
        uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
