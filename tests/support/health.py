"""Health services for tests: as many replicas as one likes, which are asked until all of them tell the same."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx

from tests.support.fleet import Fleet
from tests.support.health_contract import check_answer
from tests.support.ports import free_port
from tests.support.processes import RunningProcess, wait_ready

_POLL_S = 0.02


class HealthReplicas:
    """Running health services. Made by `health_replicas()`."""

    def __init__(self, processes: Sequence[RunningProcess], clients: Sequence[httpx.AsyncClient]) -> None:
        self.processes = processes
        self._clients = clients

    @property
    def urls(self) -> list[str]:
        """Where they are."""
        return [str(client.base_url) for client in self._clients]

    async def reports(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the status and the body that each replica answers now; fail if they are not what the contract says."""
        answers = [await client.get("/health/mcp") for client in self._clients]
        told = [(answer.status_code, answer.json()) for answer in answers]
        for status, report in told:
            check_answer(status, report)
        return told

    async def words(self) -> list[dict[str, str]]:
        """Return of each replica, by server, `connected` or why it is not."""
        return [
            {name: server.get("error", server["status"]) for name, server in report["mcp_servers"].items()}
            for _, report in await self.reports()
        ]

    async def until(self, *, within_s: float, **words: str) -> float:
        """Return when every replica says so of these servers: how long that took, in seconds.

        Raises:
            TimeoutError: one of them says something else for `within_s` seconds.
        """
        began = time.monotonic()
        with anyio.fail_after(within_s):
            while any(words.items() - told.items() for told in await self.words()):
                await anyio.sleep(_POLL_S)
        return time.monotonic() - began


@asynccontextmanager
async def health_replicas(running: Fleet, count: int = 2) -> AsyncIterator[HealthReplicas]:
    """Start so many health services beside a fleet; entered when all are ready."""
    async with AsyncExitStack() as stack:
        processes, clients = [], []
        for _ in range(count):
            port = free_port()
            processes.append(await running.start_process("services.health", env={"BUSBAR_HEALTH_PORT": str(port)}))
            url = f"http://127.0.0.1:{port}"
            clients.append(await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False)))
        for process, client in zip(processes, clients, strict=True):
            await wait_ready(process, f"{client.base_url}/readyz")
        yield HealthReplicas(processes, clients)
