"""MCP clients over two orchestrators, one of which is restarted in the middle; then what many sessions leave behind.

`python -m tests.bench.mcp_sessions` has 1,000 clients, every other one of the handshake era with a session and a stream
of its own, call a tool again and again while an orchestrator ends in order and comes back; then it begins and ends
10,000 sessions and compares the orchestrator's memory with what it was after the first 1,000. `--clients` and
`--sessions` say other numbers.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.fleet import Fleet, Orchestrator, fleet, python_server
from tests.support.processes import rss_bytes, wait_ready

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
SERVERS = {"told": python_server("tests.support.mcp_servers.telling_meta", era="modern", max_in_flight=512)}

_POLL_S = 0.05
_PAUSE_S = 1.0
"""A client calls twice in it, on average."""
_ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


@dataclass(slots=True)
class Report:
    """What came of it."""

    clients: int = 0
    calls: int = 0
    failed: list[str] = field(default_factory=list)
    """What any client was told that was no result."""
    by_orchestrator: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    """Streams of clients of the handshake era that were opened."""
    elapsed_s: float = 0.0


class Balancer:
    """Sends clients to the orchestrators in turn, those that say that they are ready: as a load balancer does."""

    def __init__(self, http: aiohttp.ClientSession, urls: list[str]) -> None:
        self.http = http
        self._urls = urls
        self._ready = list(urls)
        self._turn = 0

    def next(self) -> str:
        """Return where the next request goes."""
        self._turn += 1
        return self._ready[self._turn % len(self._ready)]

    async def look(self) -> None:
        """Ask who is ready, again and again."""
        while True:
            ready = [url for url in self._urls if await self._is_ready(url)]
            self._ready = ready or self._ready
            await asyncio.sleep(_POLL_S)

    async def _is_ready(self, url: str) -> bool:
        try:
            async with self.http.get(f"{url}/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


class ModernClient:
    """A client of 2026-07-28."""

    def __init__(self, balancer: Balancer, report: Report) -> None:
        self._balancer = balancer
        self._report = report
        self._calls = 0

    async def begin(self) -> None:
        """Nothing: there is no handshake."""

    async def end(self) -> None:
        """Nothing: there is no session."""

    async def call(self) -> None:
        """Call the tool once, and note what came of it."""
        self._calls += 1
        params = {"name": "told__meta", "arguments": {}, **self._params()}
        request = {"jsonrpc": "2.0", "id": self._calls, "method": "tools/call", "params": params}
        url = self._balancer.next()
        try:
            async with self._balancer.http.post(f"{url}/mcp", json=request, headers=self._headers()) as response:
                told = await response.json()
        except (aiohttp.ClientError, ValueError) as error:
            self._report.failed.append(repr(error))
            return
        self._report.calls += 1
        self._report.by_orchestrator[url] += 1
        if told.get("id") != self._calls or "result" not in told:
            self._report.failed.append(json.dumps(told))

    def _params(self) -> dict[str, Any]:
        return {"_meta": _META}

    def _headers(self) -> dict[str, str]:
        named = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "told__meta"}
        return _ACCEPT | named


class LegacyClient(ModernClient):
    """A client of the handshake era: one session to the end, and a stream beside its calls."""

    def __init__(self, balancer: Balancer, report: Report) -> None:
        super().__init__(balancer, report)
        self._session: dict[str, str] = {}
        self._hearing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Shake hands, and begin to listen."""
        hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        request = {"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": hello}
        async with self._balancer.http.post(f"{self._balancer.next()}/mcp", json=request, headers=_ACCEPT) as response:
            await response.read()
            self._session = {"mcp-session-id": response.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}
        self._hearing = asyncio.create_task(self._hear())

    async def end(self) -> None:
        """Hang up."""
        if self._hearing is not None:
            self._hearing.cancel()
            with suppress(asyncio.CancelledError):
                await self._hearing

    async def _hear(self) -> None:
        """Keep a stream open; where one ends, open the next."""
        while True:
            url, headers = f"{self._balancer.next()}/mcp", {**self._session, "accept": "text/event-stream"}
            try:
                async with self._balancer.http.get(url, headers=headers) as heard:
                    if heard.status != 200:
                        self._report.failed.append(f"stream: {heard.status}")
                    self._report.streams += 1
                    async for _ in heard.content:
                        pass
            except aiohttp.ClientError as error:
                self._report.failed.append(f"stream: {error!r}")
            await asyncio.sleep(_POLL_S)

    def _params(self) -> dict[str, Any]:
        return {}

    def _headers(self) -> dict[str, str]:
        return _ACCEPT | self._session


@asynccontextmanager
async def balanced(running: Fleet) -> AsyncIterator[Balancer]:
    """Yield a balancer before the fleet's orchestrators."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_connect=60)
    ) as http:
        balancer = Balancer(http, running.urls)
        looking = asyncio.create_task(balancer.look())
        try:
            yield balancer
        finally:
            looking.cancel()


async def restarted_in_the_middle(running: Fleet, clients: int) -> Report:
    """Let so many clients call while the first orchestrator ends in order and comes back at its old address."""
    report = Report(clients=clients)
    began, over = time.monotonic(), asyncio.Event()

    async def live(number: int, balancer: Balancer) -> None:
        client = (LegacyClient if number % 2 else ModernClient)(balancer, report)
        await client.begin()
        while True:
            await client.call()
            if over.is_set():
                break
            await asyncio.sleep(random.uniform(0, _PAUSE_S))  # noqa: S311
        await client.end()

    async with balanced(running) as balancer, asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(live(number, balancer))
        await _calls(report, 2 * clients)
        await _restart(running)
        await _calls(report, report.calls + 2 * clients)
        over.set()
    report.elapsed_s = time.monotonic() - began
    return report


async def _calls(report: Report, number: int) -> None:
    while report.calls < number:
        await asyncio.sleep(_POLL_S)


async def _restart(running: Fleet) -> None:
    first = running.orchestrators[0]
    await first.process.terminate(timeout_s=60)
    port = first.url.rpartition(":")[2]
    environment = {"BUSBAR_ORCHESTRATOR_PORT": port, **running.store_env}
    process = await running.start_process("services.orchestrator", env=environment)
    running.orchestrators[0] = Orchestrator(process, first.url, first.http)
    await wait_ready(process, f"{first.url}/readyz", timeout_s=60)


async def memory_after(running: Fleet, sessions: int, *, before: int, at_once: int = 50) -> tuple[int, int]:
    """Return the second orchestrator's memory, in bytes, after `before` sessions, and after so many more."""
    second = running.orchestrators[1]
    report = Report()

    async def one(balancer: Balancer) -> None:
        client = LegacyClient(balancer, report)
        await client.begin()
        await client.call()
        await client.end()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        balancer = Balancer(http, [second.url])
        sizes = []
        for number in (before, sessions):
            for begun in range(0, number, at_once):
                await asyncio.gather(*(one(balancer) for _ in range(min(at_once, number - begun))))
            gc.collect()
            sizes.append(rss_bytes(second.process.pid))
    if report.failed:
        raise RuntimeError(report.failed[0])
    return sizes[0], sizes[1]


async def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mcp_sessions", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=10_000)
    options = parser.parse_args()
    async with fleet(SERVERS, orchestrators=2, workers={"told": 2}) as running:
        report = await restarted_in_the_middle(running, options.clients)
        sys.stdout.write(
            f"{report.clients} clients, {report.calls} calls in {report.elapsed_s:.0f} s over {len(running.urls)} "
            f"orchestrators ({', '.join(map(str, report.by_orchestrator.values()))}), {report.streams} streams, "
            f"{len(report.failed)} failed\n"
        )
        sys.stdout.writelines(f"  {failure}\n" for failure in report.failed[:10])
        before, after = await memory_after(running, options.sessions, before=options.clients)
        sys.stdout.write(f"memory after {options.clients} sessions {before / 2**20:.1f} MiB, ")
        sys.stdout.write(f"after {options.sessions} more {after / 2**20:.1f} MiB\n")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
