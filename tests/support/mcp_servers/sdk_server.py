"""A well-behaved server of the official SDK: `python -m tests.support.mcp_servers.sdk_server [--port N [--sse]]`."""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import Completion, CompletionArgument, CompletionContext


def build_server(events: Path | None) -> MCPServer:  # noqa: C901
    """Return the server; what happens to its calls is appended to `events`, one line each."""
    server = MCPServer("fixture", version="1.2.3")

    def record(event: str) -> None:
        if events is not None:
            with events.open("a") as file:
                file.write(event + "\n")

    @server.tool()
    async def echo(value: Any) -> str:
        """Return the value as JSON."""
        return json.dumps(value, ensure_ascii=False)

    @server.tool()
    async def process_id() -> int:
        """Return the server's process id."""
        return os.getpid()

    @server.tool()
    async def environment() -> dict[str, str]:
        """Return the server's environment."""
        return dict(os.environ)

    @server.tool()
    async def sleep(seconds: float) -> str:
        """Take a while."""
        record("started")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            record("cancelled")
            raise
        record("finished")
        return "done"

    @server.tool()
    async def fill(size: int) -> str:
        """Return so many characters."""
        return "x" * size

    @server.tool()
    async def count(to: int, ctx: Context[Any]) -> str:
        """Report progress, then return."""
        for number in range(1, to + 1):
            await ctx.report_progress(number, to, f"step {number}")
        return "counted"

    @server.tool()
    async def speak(ctx: Context[Any]) -> str:
        """Log at three levels, then return."""
        for level in ("debug", "info", "error"):
            await ctx.log(level, f"{level} words")
        return "spoken"

    steps = asyncio.Semaphore(0)

    @server.tool()
    async def climb(to: int, ctx: Context[Any]) -> str:
        """Report progress, and go on when `step` is called."""
        for number in range(1, to + 1):
            await ctx.report_progress(number, to, f"step {number}")
            await steps.acquire()
        return "climbed"

    @server.tool()
    async def step() -> str:
        """Let `climb` go on."""
        steps.release()
        return "stepped"

    @server.tool()
    async def crash() -> str:
        """Die."""
        os._exit(3)

    @server.resource("fixture://words")
    def words() -> str:
        """Two words."""
        return "zwei Wörter"

    @server.resource("fixture://squares/{number}")
    def square(number: str) -> str:
        """A square."""
        return str(int(number) ** 2)

    @server.prompt()
    def greeting(name: str) -> str:
        """Greet somebody."""
        return f"Hello, {name}"

    @server.completion()  # type: ignore[no-untyped-call,untyped-decorator]
    async def complete(reference: Any, argument: CompletionArgument, context: CompletionContext | None) -> Completion:
        """Say what was asked, as the values."""
        known = {} if context is None else context.arguments or {}
        return Completion(values=[reference.type, f"{argument.name}={argument.value}", *sorted(known)])

    return server


def main() -> None:
    """Serve over stdio, or over HTTP on a port of the loopback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--sse", action="store_true")
    parser.add_argument("--events", type=Path)
    options = parser.parse_args()
    server = build_server(options.events)
    if options.port is None:
        server.run("stdio")
    else:
        app = server.sse_app() if options.sse else server.streamable_http_app()
        uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
