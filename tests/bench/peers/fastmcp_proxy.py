"""The proxy that `fastmcp run <URL>` starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.components import SERVER
from tests.bench.peers.peer import Peer, Upstream
from tests.bench.peers.program import listening, python_program
from tests.bench.peers.session import session_way
from tests.bench.ways import Way
from tests.support.ports import free_port


@asynccontextmanager
async def opened(upstream: Upstream) -> AsyncIterator[list[Way]]:
    """Run it before the server over HTTP."""
    port = free_port()
    options = ["--transport", "http", "--host", "127.0.0.1", "--port", str(port), "--log-level", "ERROR", "--no-banner"]
    argv = [*python_program("fastmcp", "fastmcp"), "run", upstream.url, *options]
    async with listening(argv, port, env={"FASTMCP_CHECK_FOR_UPDATES": "off"}) as process:
        parts = {"fastmcp": process.pid, SERVER: upstream.pid}
        yield [await session_way("FastMCP proxy", f"http://127.0.0.1:{port}/mcp", parts)]


PEER = Peer("fastmcp", "fastmcp", opened)
