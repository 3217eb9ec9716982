"""How the example servers are started and stopped: their options, stdio, streamable HTTP."""

import argparse
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import uvicorn
from mcp.server.mcpserver import MCPServer
from sse_starlette.sse import AppStatus

HOST = "127.0.0.1"
PATH = "/mcp"

_KEEP_ALIVE_S = 75  # above the idle time of usual clients, so that they close a connection before we do
_STOP_TIMEOUT_S = 10  # above the longest call, so that a stop cuts off no answer


def options(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every example server has: `--port` and `--version`."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.{program}", description=description)
    parser.add_argument(
        "--port",
        type=_port,
        help=f"serve streamable HTTP at http://HOST:PORT{PATH} (0: any free port); without it, stdio",
    )
    parser.add_argument(
        "--host",
        default=HOST,
        help="the address to listen on; anyone who reaches it may call the tools (default: %(default)s)",
    )
    parser.add_argument("--version", default="1.0.0", help="the version the server announces (default: %(default)s)")
    return parser


def serve(server: MCPServer, *, port: int | None, host: str = HOST) -> None:
    """Serve until stdin ends (stdio) or until SIGTERM or SIGINT, which end the process with status 0.

    Over HTTP a stop first answers the calls that are running; the client of a stdio server that
    sends SIGTERM has stopped reading.
    """
    if port is None:
        _on_stop(_exit_at_once)
        server.run("stdio")
    else:
        _on_stop(_exit)
        # Left alone, a stop cuts off the event streams at once, and with them the answers of older clients.
        AppStatus.enable_automatic_graceful_drain = False
        uvicorn.run(
            # Stateless: these servers send nothing of their own accord, so a session would only be one more
            # thing to lose in a restart.
            server.streamable_http_app(streamable_http_path=PATH, stateless_http=True, host=host),
            host=host,
            port=port,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOP_TIMEOUT_S,
        )


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError
    return port


def _on_stop(handler: "signal._HANDLER") -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Uvicorn raises the signal it was stopped by once more when it has stopped: without this
    # handler that second one would kill the process, and the status would not be 0.
    sys.exit(0)


def _exit_at_once(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Not sys.exit: it would wait for the thread that reads stdin, which nothing can wake.
    os._exit(0)
