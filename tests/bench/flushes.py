"""Flushes of the cache under reads: `python -m tests.bench.flushes`, 200 of them under 500 reads a second.

Two orchestrators, one store, two servers whose every answer says when it was given. Flushes of everything, of a
server and of a tool follow each other; for some of them one orchestrator is frozen. Each read that is sent after a
flush has returned must have an answer that was given after that flush was asked for.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.fleet import Fleet, fleet, python_server
from tests.support.ports import free_port
from tests.support.processes import wait_ready
from tests.support.servers import valkey_server

SERVERS = ("one", "two")
TOOLS = ("now", "hinted")
KEYS = 5
FROZEN_S = 2.2
"""Longer than the 1.5 s that a flush waits."""

Scope = tuple[str, ...]
"""Nothing, a server, or a server and a tool: as in the path."""
SCOPES: tuple[Scope, ...] = ((), *((server,) for server in SERVERS), *((server, "now") for server in SERVERS))


@dataclass(slots=True)
class Report:
    """What came of it."""

    reads: int = 0
    hits: int = 0
    failed: int = 0
    from_before: list[str] = field(default_factory=list)
    """Answers that were older than a flush that had returned when they were asked for."""
    flushes: int = 0
    incomplete: int = 0
    """Flushes that named an orchestrator as missing."""
    wrongly_incomplete: int = 0
    """Of those, the ones while no orchestrator was frozen."""
    silently_complete: int = 0
    """Flushes while one was frozen all the time that did not say so."""
    slowest_s: float = 0.0
    """Of the flushes that were complete."""
    elapsed_s: float = 0.0


class Run:
    """One measurement."""

    def __init__(self, running: Fleet, admin_url: str, admin_key: str, rate_per_s: float) -> None:
        self._running = running
        self._admin_url = admin_url
        self._headers = {"authorization": f"Bearer {admin_key}"}
        self._rate_per_s = rate_per_s
        self._not_before: dict[Scope, float] = {}
        self.report = Report()

    async def measure(self, flushes: int, freeze_every: int) -> Report:
        """Flush so many times; before every `freeze_every`th freeze one orchestrator for two seconds."""
        began = time.monotonic()
        connector = aiohttp.TCPConnector(limit=0)  # reads are sent on time, also to an orchestrator that is frozen
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as reads:
            reading = reads.create_task(self._read_on(session, reads))
            for number in range(flushes):
                if number % freeze_every == freeze_every // 2:
                    await self._flush_while_frozen(session, SCOPES[number % len(SCOPES)], number % 2)
                else:
                    await self._flush(session, SCOPES[number % len(SCOPES)], is_frozen=False)
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311
            reading.cancel()
        self.report.elapsed_s = time.monotonic() - began
        return self.report

    async def _flush_while_frozen(self, session: aiohttp.ClientSession, scope: Scope, orchestrator: int) -> None:
        process = self._running.orchestrators[orchestrator].process
        process.pause()
        thaw = asyncio.get_running_loop().call_later(FROZEN_S, process.resume)
        try:
            await self._flush(session, scope, is_frozen=True)
        finally:
            await asyncio.sleep(max(0.0, thaw.when() - asyncio.get_running_loop().time()))
            process.resume()

    async def _flush(self, session: aiohttp.ClientSession, scope: Scope, *, is_frozen: bool) -> None:
        asked_at, began = time.time(), time.monotonic()
        url = "/".join((f"{self._admin_url}/v1/cache", *scope))
        async with session.delete(url, headers=self._headers) as response:
            told = await response.json()
        if response.status not in {200, 504}:
            raise AssertionError(told)
        self._not_before[scope] = asked_at
        report = self.report
        report.flushes += 1
        if told["missing"]:
            report.incomplete += 1
            report.wrongly_incomplete += not is_frozen
        else:
            report.silently_complete += is_frozen
            report.slowest_s = max(report.slowest_s, time.monotonic() - began)

    async def _read_on(self, session: aiohttp.ClientSession, reads: asyncio.TaskGroup) -> None:
        next_at = time.monotonic()
        while True:
            reads.create_task(self._read(session))
            next_at += 1 / self._rate_per_s
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    async def _read(self, session: aiohttp.ClientSession) -> None:
        server, tool, key = random.choice(SERVERS), random.choice(TOOLS), random.randrange(KEYS)  # noqa: S311
        not_before = max(self._not_before.get(scope, 0.0) for scope in ((), (server,), (server, tool)))
        query = {"server": server, "tool": tool, "arguments": {"key": str(key)}}
        url = random.choice(self._running.urls)  # noqa: S311
        async with session.post(f"{url}/v1/query", json=query) as response:
            told = await response.json(content_type=None)
        self.report.reads += 1
        if response.status != 200:
            self.report.failed += 1
            return
        self.report.hits += told["cache"] in {"hit", "coalesced"}
        given_at = json.loads(told["result"]["content"][0]["text"])["at"]
        if given_at < not_before:
            late_ms = (not_before - given_at) * 1000
            self.report.from_before.append(f"{server} {tool}: {told['cache']}, {late_ms:.0f} ms older")


@asynccontextmanager
async def flushable() -> AsyncIterator[Callable[[float], Run]]:
    """Start everything; gives a run at so many reads a second."""
    with tempfile.TemporaryDirectory(prefix="busbar-flushes-") as folder:
        ledger = Path(folder) / "ledger.jsonl"
        kept = {"cache_ttl_s": 600, "cache_scope": "public"}
        server: dict[str, Any] = python_server(
            "tests.support.mcp_servers.clock", "--ledger", str(ledger), tools=dict.fromkeys(TOOLS, kept)
        )
        async with (
            valkey_server() as store,
            fleet(
                dict.fromkeys(SERVERS, server),
                orchestrators=2,
                keys={"boss": {"scopes": ["admin"]}},
                env={"BUSBAR_ANONYMOUS": "loopback"},
                store=store,
            ) as running,
        ):
            port = free_port()
            admin = await running.start_process(
                "services.admin", env={"BUSBAR_ADMIN_PORT": str(port), "BUSBAR_REDIS_URL": store.url}
            )
            url = f"http://127.0.0.1:{port}"
            await wait_ready(admin, f"{url}/readyz")
            yield lambda rate_per_s: Run(running, url, running.keys["boss"], rate_per_s)


async def main() -> int:
    async with flushable() as start:
        report = await start(500).measure(200, freeze_every=25)
    print(
        f"{report.flushes} flushes in {report.elapsed_s:.0f} s, {report.reads / report.elapsed_s:.0f} reads a second: "
        f"{report.reads} reads, {report.hits} from the cache, {report.failed} failed, "
        f"{len(report.from_before)} from before a flush.\n"
        f"{report.incomplete} incomplete, {report.wrongly_incomplete} of them with no orchestrator frozen; "
        f"{report.silently_complete} complete while one was. The slowest complete one took {report.slowest_s:.3f} s."
    )
    print(*report.from_before[:20], sep="\n")
    return 1 if report.from_before or report.failed or report.wrongly_incomplete or report.silently_complete else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
