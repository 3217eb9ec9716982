"""LiteLLM's MCP gateway, without a database."""

import json
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.bench.components import SERVER
from tests.bench.peers.peer import Peer, Upstream
from tests.bench.peers.program import listening, python_program
from tests.bench.peers.session import session_way
from tests.bench.ways import Way
from tests.support.ports import free_port


@asynccontextmanager
async def opened(upstream: Upstream) -> AsyncIterator[list[Way]]:
    """Run it before the server over HTTP, with one process and one key."""
    port, key = free_port(), f"sk-{secrets.token_hex(16)}"
    with tempfile.TemporaryDirectory(prefix="busbar-litellm-") as folder:
        config = _configure(Path(folder), upstream.url, key)
        argv = [*python_program("litellm", "litellm"), "--host", "127.0.0.1", "--port", str(port)]
        # Else it would ask the network for prices of models at its start.
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "HOME": folder}
        async with listening([*argv, "--config", str(config)], port, env=env, path="/health/liveliness") as process:
            parts = {"litellm": process.pid, SERVER: upstream.pid}
            authorization = {"x-litellm-api-key": f"Bearer {key}"}
            url = f"http://127.0.0.1:{port}/mcp/"
            yield [await session_way("LiteLLM", url, parts, tool="echo-echo", **authorization)]


def _configure(folder: Path, url: str, key: str) -> Path:
    config = folder / "config.json"
    config.touch(mode=0o600)
    server = {"url": url, "transport": "http", "available_on_public_internet": True}
    config.write_text(json.dumps({"mcp_servers": {"echo": server}, "general_settings": {"master_key": key}}))
    return config


PEER = Peer("litellm", "litellm", opened)
