"""mcp-hub: calls of tools as plain HTTP."""

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.bench.components import SERVER
from tests.bench.peers.peer import Peer, Upstream
from tests.bench.peers.program import listening, node_program
from tests.bench.ways import ARGUMENTS, JSON, Way
from tests.support.ports import free_port


@asynccontextmanager
async def opened(upstream: Upstream) -> AsyncIterator[list[Way]]:
    """Run it before the server over HTTP."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="busbar-mcp-hub-") as folder:
        config = _configure(Path(folder), upstream.url)
        argv = [*node_program("mcp-hub", "mcp-hub"), "--port", str(port), "--config", str(config)]
        places = dict.fromkeys(("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), folder)
        async with listening(argv, port, env=places, path="/api/health") as process:
            query = {"server_name": "echo", "tool": "echo", "arguments": ARGUMENTS}
            url = f"http://127.0.0.1:{port}/api/servers/tools"
            yield [
                Way("mcp-hub", url, JSON, json.dumps(query).encode(), {"mcp-hub": process.pid, SERVER: upstream.pid})
            ]


def _configure(folder: Path, url: str) -> Path:
    config = folder / "servers.json"
    config.write_text(json.dumps({"mcpServers": {"echo": {"url": url}}}))
    return config


PEER = Peer("mcp-hub", "mcp-hub", opened)
