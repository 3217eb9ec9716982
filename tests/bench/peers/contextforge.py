"""ContextForge, one process on SQLite, asked over its `/rpc` and as an MCP server.

Kinder than it comes: no limits of rates, no plugins, no pages for people, caches in memory.
"""

import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx

from tests.bench.components import SERVER
from tests.bench.peers.peer import Peer, Upstream
from tests.bench.peers.program import START_S, listening, python_program
from tests.bench.peers.session import session_way
from tests.bench.ways import ARGUMENTS, JSON, Way, call_body
from tests.support.ports import free_port
from tests.support.processes import running

_SETTINGS: Final = {
    "CACHE_TYPE": "memory",
    "LOG_LEVEL": "ERROR",
    "MCPGATEWAY_UI_ENABLED": "false",
    "PLUGINS_ENABLED": "false",
    "RATE_LIMITING_ENABLED": "false",
    "SSRF_ALLOW_LOCALHOST": "true",
    "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
}
_SECRETS: Final = ("JWT_SECRET_KEY", "AUTH_ENCRYPTION_SECRET", "BASIC_AUTH_PASSWORD", "PLATFORM_ADMIN_PASSWORD")
_ADMIN: Final = "admin@example.com"
_TOOL: Final = "echo-echo"


@asynccontextmanager
async def opened(upstream: Upstream) -> AsyncIterator[list[Way]]:
    """Run it, and make the server over HTTP known to it."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="busbar-contextforge-") as folder:
        env = {**_SETTINGS, **{name: secrets.token_urlsafe(32) for name in _SECRETS}}
        env |= {"DATABASE_URL": f"sqlite:///{folder}/mcp.db", "HOME": folder}
        program = python_program("contextforge", "mcpgateway")
        argv = [*program, "mcpgateway.main:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
        async with listening(argv, port, env=env, path="/health") as process:
            authorization = {"authorization": f"Bearer {await _token(env)}"}
            await _register(base, upstream.url, authorization)
            parts = {"ContextForge": process.pid, SERVER: upstream.pid}
            body = call_body({"name": _TOOL, "arguments": ARGUMENTS})
            yield [
                Way("ContextForge, /rpc", f"{base}/rpc", {**JSON, **authorization}, body, parts),
                await session_way("ContextForge, /mcp", f"{base}/mcp/", parts, tool=_TOOL, **authorization),
            ]


async def _token(env: Mapping[str, str]) -> str:
    """Return an administrator's token, as ContextForge's own tool makes it."""
    options = ["--username", _ADMIN, "--admin", "--exp", "600"]
    argv = [*python_program("contextforge", "python"), "-m", "mcpgateway.utils.create_jwt_token", *options]
    async with running(argv, env=env) as tool:
        assert await tool.wait(timeout_s=START_S) == 0, "ContextForge makes no token"
        return tool.stdout().split()[-1]


async def _register(base: str, url: str, authorization: Mapping[str, str]) -> None:
    async with httpx.AsyncClient(base_url=base, timeout=START_S, trust_env=False, headers=authorization) as client:
        gateway = {"name": "echo", "url": url, "transport": "STREAMABLEHTTP"}
        answer = await client.post("/gateways", json=gateway)
        assert answer.is_success, f"ContextForge does not take the server: {json.dumps(answer.text)[:200]}"


PEER = Peer("contextforge", "mcp-contextforge-gateway", opened)
