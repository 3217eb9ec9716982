"""Admin services for tests: as many replicas as one likes, which are asked with an admin key."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from services.runtime.audit_chain import verify
from tests.support.fleet import Fleet
from tests.support.ports import free_port
from tests.support.processes import RunningProcess, wait_ready

BOSS: Mapping[str, Mapping[str, Any]] = {"boss": {"scopes": ["admin"]}}
"""The keys that a fleet needs so that somebody may steer it."""

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Admin:
    """A running admin service."""

    url: str
    process: RunningProcess
    http: httpx.AsyncClient
    """Asks with an admin key."""
    audit_file: Path

    async def get(self, path: str) -> Any:
        """Return the JSON of a path that answers 200."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, path: str, condition: Callable[[Any], object], *, timeout_s: float = 15.0) -> Any:
        """Return the JSON of a path as soon as `condition` holds for it.

        Raises:
            TimeoutError: it does not within `timeout_s` seconds.
        """
        with anyio.fail_after(timeout_s):
            while not condition(told := await self.get(path)):
                await anyio.sleep(_POLL_S)
        return told

    def audited(self) -> list[dict[str, Any]]:
        """The entries of the audit log, which must be a whole chain; none before the first attempt."""
        if not self.audit_file.exists():
            return []
        lines = self.audit_file.read_bytes().splitlines(keepends=True)
        assert verify(lines).broken_at is None
        return [json.loads(line) for line in lines]


@asynccontextmanager
async def admins(running: Fleet, count: int = 1) -> AsyncIterator[list[Admin]]:
    """Start so many admin services beside a fleet that has the keys of `BOSS`; entered when all are ready."""
    async with AsyncExitStack() as stack:
        started = []
        for _ in range(count):
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            process = await running.start_process(
                "services.admin", env={"BUSBAR_ADMIN_PORT": str(port), **running.store_env}
            )
            client = httpx.AsyncClient(
                base_url=url,
                trust_env=False,
                timeout=20,
                headers={"authorization": f"Bearer {running.keys['boss']}"},
            )
            http = await stack.enter_async_context(client)
            started.append(Admin(url, process, http, Path(running.env["BUSBAR_STATE_DIR"]) / "audit.jsonl"))
        for admin in started:
            await wait_ready(admin.process, f"{admin.url}/readyz")
        yield started
