"""supergateway: streamable HTTP in front of a server over stdio, which it starts once per session."""

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.components import SERVER
from tests.bench.peers.peer import STDIO_COMMAND, Peer, Upstream
from tests.bench.peers.program import listening, node_program, stdio_server
from tests.bench.peers.session import session_headers
from tests.bench.ways import ARGUMENTS, Way, call_body
from tests.support.ports import free_port


@asynccontextmanager
async def opened(_: Upstream) -> AsyncIterator[list[Way]]:
    """Run it with sessions: without, it would start a server for every request."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    options = ["--outputTransport", "streamableHttp", "--stateful", "--port", str(port), "--logLevel", "none"]
    argv = [*node_program("supergateway", "supergateway"), "--stdio", shlex.join(STDIO_COMMAND), *options]
    async with listening(argv, port) as process:
        headers = await session_headers(url)
        parts = {"supergateway": process.pid, SERVER: stdio_server(process)}
        yield [Way("supergateway (stdio)", url, headers, call_body({"name": "echo", "arguments": ARGUMENTS}), parts)]


PEER = Peer("supergateway", "supergateway", opened)
