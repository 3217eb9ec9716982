"""`busbar mcp`: the fleet as an MCP server over stdio, for clients that only start commands."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from typing import Annotated, BinaryIO
from urllib.parse import urlsplit

import typer

from bus_schemas.names import server_name
from services.cli.errors import DONE
from services.cli.location import find_system
from services.cli.options import StateDir
from services.cli.stdio_front import StdioFront, new_http_client
from services.runtime.auth.authentication import is_loopback_only


def mcp(
    server: Annotated[
        str | None, typer.Option("--server", metavar="NAME", help="Only this server, under its own names.")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="List find_tools and call_tool in place of all tools.")
    ] = False,
    state_dir: StateDir = None,
) -> int:
    """Be an MCP server over stdio in front of the fleet, for clients that only start commands.

    Asks BUSBAR_URL with BUSBAR_KEY, else a running `busbar up`. In a client's configuration:

        {"mcpServers": {"busbar": {"command": "busbar", "args": ["mcp"],
                                   "env": {"BUSBAR_URL": "https://busbar.example.org", "BUSBAR_KEY": "…"}}}}

    Example:

        busbar mcp --server products
    """
    endpoint = find_system(state_dir).need_orchestrator()
    path = "/mcp" if server is None else f"/servers/{_named(server)}/mcp"
    urls = [url + path + ("?tools=search" if search else "") for url in endpoint.urls]
    try:
        asyncio.run(_serve(urls, endpoint.key))
    except (BrokenPipeError, KeyboardInterrupt):  # the client has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


async def _serve(urls: list[str], key: str | None) -> None:
    # A proxy of the environment is for the world outside, never for this machine.
    async with new_http_client(trust_env=not is_loopback_only(urlsplit(url).hostname or "" for url in urls)) as http:
        await StdioFront(urls, key, http=http, write=_write).run(_lines(sys.stdin.buffer))


def _write(message: bytes) -> None:
    sys.stdout.buffer.write(message + b"\n")
    sys.stdout.buffer.flush()


async def _lines(stream: BinaryIO) -> AsyncIterator[bytes]:
    """Yield the lines of a stream: a pipe, a file or a terminal."""
    running = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        line = b"-"
        while line:
            line = stream.readline()
            try:
                running.call_soon_threadsafe(lines.put_nowait, line)
            except RuntimeError:  # we have ended
                return

    # A thread that nobody waits for: there is no other way to leave a read of a terminal.
    threading.Thread(target=read, daemon=True, name="stdin").start()
    while line := await lines.get():
        yield line


def _named(server: str) -> str:
    try:
        return server_name(server)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
