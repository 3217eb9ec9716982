"""A release of a server that differs from the others in one way; it notes each call in a ledger before its effect.

`python -m tests.support.mcp_servers.changed --ledger FILE` speaks stdio and has the tools `record` and `look_up`. With
`--errors N` every N-th call answers `isError`, with `--fails N` it is an error of JSON-RPC, with `--ms N` each takes so
many milliseconds, with `--noisy` that is only the median and one of fifty takes ten times as long, with `--hangs` none
is answered, with `--crashes` it ends at its first call, with `--lacks` there is no `look_up`.
"""

import argparse
import os
import random
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from tests.support.ledger import Ledger

_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


def create_server(ledger: Ledger, options: argparse.Namespace) -> Server[Any]:
    """Return the MCP server."""
    names = ["record"] if options.lacks else ["record", "look_up"]
    tools = [types.Tool(name=name, input_schema=_SCHEMA) for name in names]
    numbers = count(1)

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        await ledger.note(str((params.arguments or {}).get("id")), "start")
        if options.crashes:
            os._exit(1)
        if options.hangs:
            await anyio.sleep_forever()
        await anyio.sleep(_duration_s(options))
        number = next(numbers)
        if options.fails and number % options.fails == 0:
            raise MCPError(types.INTERNAL_ERROR, "asked to fail")
        is_error = options.errors > 0 and number % options.errors == 0
        return types.CallToolResult(content=[types.TextContent(type="text", text="noted")], is_error=is_error)

    return Server("changed", version="1.0.0", on_list_tools=list_tools, on_call_tool=call_tool)


def _duration_s(options: argparse.Namespace) -> float:
    """How long a call takes; noise is as on a busy machine: a long tail, and hiccups."""
    duration_s: float = options.ms / 1000
    if options.noisy:
        duration_s *= random.lognormvariate(0, 0.8) * (10 if random.random() < 0.02 else 1)  # noqa: S311
    return duration_s


async def _serve(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--errors", type=int, default=0)
    parser.add_argument("--fails", type=int, default=0)
    parser.add_argument("--ms", type=int, default=0)
    for flag in ("--noisy", "--hangs", "--crashes", "--lacks"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args()
    ledger = Ledger(options.ledger)
    try:
        anyio.run(_serve, create_server(ledger, options))
    finally:
        ledger.close()


if __name__ == "__main__":
    main()
