"""A server of the official SDK that remembers: `python -m tests.support.mcp_servers.stateful [--port N]`.

Over stdio each process has a count of its own, over HTTP each session of the handshake era.
"""

import argparse
import os
from collections import Counter
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import (
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel

_SURE = {"type": "object", "properties": {"sure": {"type": "boolean"}}}


class Seat(BaseModel):
    """What the caller is asked for."""

    row: int


def ask_seat() -> Elicit[Seat]:
    """Ask the caller where to sit."""
    return Elicit("Which row?", Seat)


def ask_model() -> Sample:
    """Ask the caller's model."""
    return Sample([SamplingMessage(role="user", content=TextContent(text="a word?"))], max_tokens=10)


def ask_roots() -> ListRoots:
    """Ask where the caller's files are."""
    return ListRoots()


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

    @server.tool()
    async def book(name: str, seat: Annotated[Seat, Resolve(ask_seat)]) -> str:
        """Book a seat that the SDK asks for."""
        return f"row {seat.row} for {name}"

    @server.tool()
    async def write(word: Annotated[CreateMessageResult, Resolve(ask_model)]) -> str:
        """Write what the caller's model says, for which the SDK asks."""
        return f"{word.model} wrote {word.content.text}" if isinstance(word.content, TextContent) else "nothing"

    @server.tool()
    async def count_roots(found: Annotated[ListRootsResult, Resolve(ask_roots)]) -> str:
        """Count the caller's roots, for which the SDK asks."""
        return f"{len(found.roots)} roots"

    @server.tool()
    async def reserve(ctx: Context[Any]) -> str:
        """Ask the caller during the call, as servers of the handshake era do."""
        answer = await ctx.session.elicit_form("Which row?", Seat.model_json_schema(), ctx.request_id)
        return f"{answer.action}: {answer.content}"

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
