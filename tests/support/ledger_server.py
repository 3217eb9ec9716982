"""An MCP server that notes each call in a ledger before its effect.

`python -m tests.support.ledger_server --ledger FILE` speaks stdio, with `--port N` streamable HTTP at `/mcp`
(0: any free port); the URL is then the first line on stdout.
"""

import argparse
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import anyio
import mcp_types as types
import msgspec
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from tests.support.ledger import Ledger

_INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "minLength": 1, "description": "Names the call in the ledger."},
        "ms": {"type": "integer", "minimum": 0, "default": 0, "description": "How long the call takes."},
        "fail": {
            "type": "string",
            "enum": ["", "error", "jsonrpc", "exit", "hang"],
            "default": "",
            "description": "How the call goes wrong.",
        },
    },
    "required": ["id"],
    "additionalProperties": False,
}
JSONRPC_ERROR_CODE = -32050
EXIT_STATUS = 17
_STOP_S = 5


def ledger_tools() -> list[types.Tool]:
    """Return the definitions of `record` and `record_idempotent`."""
    return [
        _tool("record", idempotent=False),
        _tool("record_idempotent", idempotent=True),
    ]


def create_server(name: str, ledger: Ledger) -> Server[Any]:
    """Return the MCP server; it serves any number of calls at once."""
    tools = ledger_tools()

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name not in {tool.name for tool in tools}:
            raise MCPError(types.INVALID_PARAMS, "unknown tool")
        return await _record(ledger, _call(params.arguments or {}))

    # Without the schema look-up the SDK runs the whole tools/list handler before each call over HTTP.
    return Server(
        name,
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=lambda _name: _INPUT_SCHEMA,
    )


class _Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    fail: Literal["", "error", "jsonrpc", "exit", "hang"] = ""


def _call(arguments: dict[str, Any]) -> _Call:
    try:
        return msgspec.convert(arguments, _Call)
    except msgspec.ValidationError as error:
        raise MCPError(types.INVALID_PARAMS, "the arguments do not fit the input schema") from error


async def _record(ledger: Ledger, call: _Call) -> types.CallToolResult:
    """Note the start, take `ms` milliseconds, fail as asked, note the end, answer."""
    try:
        await ledger.note(call.id, "start")
        await anyio.sleep(call.ms / 1000)
        match call.fail:
            case "exit":
                _exit_at_once()
            case "hang":
                await anyio.sleep_forever()
        await ledger.note(call.id, "end")
    except anyio.get_cancelled_exc_class():
        ledger.note_cancelled(call.id)
        raise
    if call.fail == "jsonrpc":
        raise MCPError(JSONRPC_ERROR_CODE, "asked to fail", {"id": call.id})
    answer = {"id": call.id, "pid": os.getpid()}
    text = types.TextContent(type="text", text=f"{call.id} was recorded by {os.getpid()}")
    return types.CallToolResult(content=[text], structured_content=answer, is_error=call.fail == "error")


def _exit_at_once() -> NoReturn:
    os._exit(EXIT_STATUS)


def _tool(name: str, *, idempotent: bool) -> types.Tool:
    return types.Tool(
        name=name,
        description="Note the call in the ledger, wait, and answer.",
        input_schema=_INPUT_SCHEMA,
        annotations=types.ToolAnnotations(read_only_hint=False, idempotent_hint=idempotent, open_world_hint=False),
    )


async def _serve_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def _serve_http(server: Server[Any], host: str, port: int) -> None:
    listener = socket.create_server((host, port), backlog=2048)
    print(f"http://{host}:{listener.getsockname()[1]}/mcp", flush=True)  # noqa: T201 the caller reads it
    config = uvicorn.Config(
        # Not json_response: there the SDK does not cancel the call of a caller that has gone.
        server.streamable_http_app(host=host),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--port", type=int, help="serve streamable HTTP in the place of stdio")
    parser.add_argument("--host", default="127.0.0.1", help="where; in a container, everywhere")
    parser.add_argument("--name", default="ledger")
    options = parser.parse_args()
    ledger = Ledger(options.ledger)
    server = create_server(options.name, ledger)
    serve: Callable[[], Awaitable[None]] = (
        (lambda: _serve_stdio(server))
        if options.port is None
        else (lambda: _serve_http(server, options.host, options.port))
    )
    try:
        anyio.run(serve, backend_options={"use_uvloop": True})
    finally:
        ledger.close()


if __name__ == "__main__":
    main()
