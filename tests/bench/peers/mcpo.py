"""mcpo: each tool as plain HTTP, in front of a server over HTTP or stdio."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.bench.components import SERVER
from tests.bench.peers.peer import STDIO_COMMAND, Peer, Upstream
from tests.bench.peers.program import listening, python_program, stdio_server
from tests.bench.ways import ARGUMENTS, JSON, Way
from tests.support.ports import free_port


@asynccontextmanager
async def opened(upstream: Upstream) -> AsyncIterator[list[Way]]:
    """Run it twice: before the server over HTTP, and before one that it starts."""
    http_port, stdio_port = free_port(), free_port()
    over_http = _argv(http_port, "streamable-http", [upstream.url])
    over_stdio = _argv(stdio_port, "stdio", STDIO_COMMAND)
    async with listening(over_http, http_port) as http, listening(over_stdio, stdio_port) as stdio:
        yield [
            _way("mcpo", http_port, http.pid, upstream.pid),
            _way("mcpo (stdio)", stdio_port, stdio.pid, stdio_server(stdio)),
        ]


def _argv(port: int, kind: str, server: Sequence[str]) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(port), "--server-type", kind, "--log-level", "ERROR"]
    return [*python_program("mcpo", "mcpo"), *options, "--", *server]


def _way(name: str, port: int, peer: int, server: int) -> Way:
    body = json.dumps(ARGUMENTS).encode()
    return Way(name, f"http://127.0.0.1:{port}/echo", JSON, body, {"mcpo": peer, SERVER: server})


PEER = Peer("mcpo", "mcpo", opened)
