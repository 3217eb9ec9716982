"""A whole `busbar up` in front of ledger servers, with an admin's client: for reloads and deploys."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.support.ports import free_port
from tests.support.processes import REPOSITORY
from tests.support.system import System, system

CHANGED_S = 60.0
"""How long processes may take to come and go on a busy machine."""


class Ground:
    """A running system, its file, and an admin's client."""

    def __init__(self, system: System, folder: Path, admin: httpx.AsyncClient) -> None:
        self.system = system
        self.config = folder / "busbar.yaml"
        self.state_dir = folder / "state"
        self.admin = admin
        self.told: list[int] = []
        """The statuses that `ask_until_cancelled` got."""

    @property
    def state(self) -> dict[str, Any]:
        """The state file as it is now."""
        state: dict[str, Any] = json.loads((self.state_dir / "state.json").read_text())
        return state

    def write(self, **servers: Any) -> None:
        """Write the operator's file anew."""
        self.config.write_text(json.dumps({"servers": servers}))

    async def reload(self) -> httpx.Response:
        """Order a reload."""
        return await self.admin.post("/v1/config/reload")

    async def ask(self, server: str, **arguments: Any) -> httpx.Response:
        """Ask a ledger server to record a call."""
        return await self.system.ask(server, "record", {"id": "x", **arguments})

    async def ask_until_cancelled(self, server: str) -> None:
        """Ask one query after another, and keep the statuses."""
        while True:
            self.told.append((await self.ask(server)).status_code)

    async def wait_for(self, server: str, status: int) -> None:
        """Return when a query of the server is told `status`."""
        with anyio.fail_after(CHANGED_S):
            while (await self.ask(server)).status_code != status:
                await anyio.sleep(0.1)

    async def wait_gone(self, *names: str) -> None:
        """Return when there is no process of any of these names."""
        with anyio.fail_after(CHANGED_S):
            while set(names) & self.system.pids.keys():
                await anyio.sleep(0.05)


def stdio(folder: Path, **more: Any) -> dict[str, Any]:
    """A ledger server that each worker starts, as below `servers:`."""
    command = [sys.executable, "-m", "tests.support.ledger_server", "--ledger", str(folder / "ledger")]
    return {"command": command, "cwd": str(REPOSITORY), **more}


def at_url(folder: Path, **more: Any) -> dict[str, Any]:
    """A ledger server that the supervisor starts, on a port of its own."""
    port = free_port()
    one = stdio(folder, url=f"http://127.0.0.1:{port}/mcp", **more)
    return {**one, "command": [*one["command"], "--port", str(port)]}


@asynccontextmanager
async def ground(folder: Path, *arguments: str, **servers: Any) -> AsyncIterator[Ground]:
    """Run `busbar up` in front of `servers`."""
    async with system(servers, folder, *arguments) as running:
        state = json.loads((folder / "state" / "state.json").read_text())
        headers = {"authorization": f"Bearer {state['keys']['admin']}"}
        async with httpx.AsyncClient(base_url=state["admin"], headers=headers, timeout=60, trust_env=False) as admin:
            yield Ground(running, folder, admin)
