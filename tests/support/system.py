"""A whole `busbar up` for tests: asked and looked at like an operator's, killed with everything it has started."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.support.processes import ProcessDiedError, RunningProcess, running

READY_S = 60.0
_PORTS = [f"--{name}-port=0" for name in ("orchestrator", "health", "admin", "nats", "redis")]


class System:
    """A running `busbar up`."""

    def __init__(self, process: RunningProcess, state_dir: Path, printed: Mapping[str, Any]) -> None:
        """Made by `system()`."""
        self.process = process
        """The supervisor."""
        self._state_dir = state_dir
        self._url: str = printed["orchestrators"][0]
        self._key: str = printed["keys"]["query"]

    @property
    def pids(self) -> dict[str, int]:
        """The processes that the supervisor has started and that run now, by name."""
        pids: dict[str, int] = json.loads((self._state_dir / "state.json").read_text())["pids"]
        return pids

    async def ask(self, server: str, tool: str, arguments: Mapping[str, Any]) -> httpx.Response:
        """Send one query over HTTP, with five minutes for its answer."""
        query = {"server": server, "tool": tool, "arguments": arguments, "timeout_ms": 300_000}
        async with self._client() as client:
            return await client.post("/v1/query", json=query, timeout=None)

    async def wait_connected(self) -> None:
        """Return when every server is served."""
        with anyio.fail_after(READY_S):
            async with self._client() as client:
                while {server["status"] for server in await _servers(client)} != {"connected"}:
                    await anyio.sleep(0.05)

    def _client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self._key}"}
        return httpx.AsyncClient(base_url=self._url, headers=headers, timeout=10, trust_env=False)


@asynccontextmanager
async def system(servers: Mapping[str, Any], folder: Path, *arguments: str) -> AsyncIterator[System]:
    """Run `busbar up` in front of `servers`, as below `servers:` in busbar.yaml; ready when all of them are served.

    Raises:
        ProcessDiedError: it ended before it was ready.
    """
    config, state_dir = folder / "busbar.yaml", folder / "state"
    config.write_text(json.dumps({"servers": servers}))
    config.chmod(0o600)
    options = ["--json", "--config", str(config), "--state-dir", str(state_dir), *_PORTS, *arguments]
    async with running([sys.executable, "-m", "services.cli", "up", *options]) as process:
        with anyio.fail_after(READY_S):
            while not process.stdout().endswith("\n"):
                if process.returncode is not None:
                    raise ProcessDiedError(process.stderr())
                await anyio.sleep(0.02)
        one = System(process, state_dir, json.loads(process.stdout()))
        await one.wait_connected()
        yield one


async def _servers(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    response = await client.get("/v1/servers")
    servers: list[dict[str, Any]] = response.json()["servers"]
    return servers
