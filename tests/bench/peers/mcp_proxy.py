"""mcp-proxy (the Python one): streamable HTTP in front of a server over stdio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.components import SERVER
from tests.bench.peers.peer import STDIO_COMMAND, Peer, Upstream
from tests.bench.peers.program import listening, python_program, stdio_server
from tests.bench.peers.session import session_way
from tests.bench.ways import Way
from tests.support.ports import free_port


@asynccontextmanager
async def opened(_: Upstream) -> AsyncIterator[list[Way]]:
    """Run it; it starts the server itself."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "ERROR", "--pass-environment"]
    async with listening([*python_program("mcp-proxy", "mcp-proxy"), *options, "--", *STDIO_COMMAND], port) as process:
        parts = {"mcp-proxy": process.pid, SERVER: stdio_server(process)}
        yield [await session_way("mcp-proxy (stdio)", f"http://127.0.0.1:{port}/mcp", parts)]


PEER = Peer("mcp-proxy", "mcp-proxy", opened)
