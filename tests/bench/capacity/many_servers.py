"""200 servers with 10,000 tools against two with 100: lists, queries, and what a worker that joins takes."""

import asyncio
import json
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.capacity.announcers import TOOLS, server_name
from tests.bench.capacity.callers import lines, request
from tests.bench.capacity.figures import Figure
from tests.bench.capacity.lean import NAME, lean_server, lean_way
from tests.bench.ways import components, over_http
from tests.bench.wrk import Run, ask
from tests.support.account import percentile
from tests.support.fleet import Fleet, fleet
from tests.support.processes import python_process, rss_bytes

MANY = 200
FEW = 2
CALLERS = 32
ROUNDS = 3
SECONDS = 4
ASKED_EACH = 300
JOINING = 100
_SETTLED_S = 30.0
_LISTS = {
    "servers": "/v1/servers",
    "100 tools": "/v1/tools",
    "1,000 tools": "/v1/tools?limit=1000",
    "tools of one server": "/v1/tools?server=server_150",
    "tools with a text": "/v1/tools?q=of_150",
    "resources": "/v1/resources",
    "prompts": "/v1/prompts",
}


async def measure() -> list[Figure]:
    """Ask a server that is really there while one other is announced, and while 199 are, in turns."""
    async with lean_server() as (url, server):
        real = {NAME: over_http(url)}
        others = {server_name(number): {"url": "http://127.0.0.1:9/mcp"} for number in range(MANY - 1)}
        async with fleet({**real, **others}, workers={NAME: 1}) as running:
            way = lean_way(running, components(running, server=server.pid))
            joining = await _joining(running)  # first: what has been freed once is not asked for again
            runs: dict[int, list[Run]] = {FEW: [], MANY: []}
            for _ in range(ROUNDS):
                for servers, told in runs.items():
                    async with _announced(running, servers):
                        await asyncio.to_thread(ask, way, CALLERS, 1)
                        told.append(await asyncio.to_thread(ask, way, CALLERS, SECONDS))
            async with _announced(running, MANY):
                return [*_costs(runs), *await _lists(running), *joining]


def _costs(runs: dict[int, list[Run]]) -> list[Figure]:
    figures = [
        Figure(f"processor time per query, {servers} servers", statistics.median(run.gateway_us for run in told), "µs")
        for servers, told in runs.items()
    ]
    pairs = zip(runs[FEW], runs[MANY], strict=True)
    ratio = statistics.median(many.gateway_us / few.gateway_us for few, many in pairs)
    errors = sum(run.errors for told in runs.values() for run in told)
    return [*figures, Figure("200 servers over 2", ratio, most=1.10), Figure("errors", errors, most=0)]


async def _lists(running: Fleet) -> list[Figure]:
    """Ask for each list again and again, one caller at a time; and for all 10,000 tools, page by page."""
    figures = []
    async with lines(running.urls[0], 1) as (line,):
        for name, path in _LISTS.items():
            asked = request("GET", f"{running.urls[0]}{path}")
            told = [await line.ask(asked, timeout_s=10) for _ in range(ASKED_EACH)]
            assert all(one.status == 200 for one in told)
            times = sorted(one.ms for one in told)
            figures.append(Figure(f"list of {name}: p99", percentile(times, 99), "ms", below=50))
        times, tools, cursor = [], 0, ""
        while True:
            page = await line.ask(request("GET", f"{running.urls[0]}/v1/tools?limit=500{cursor}"), timeout_s=10)
            document = json.loads(page.body)
            times.append(page.ms)
            tools += len(document["tools"])
            if document["next_cursor"] is None:
                break
            cursor = f"&cursor={document['next_cursor']}"
    return [
        *figures,
        Figure("tools listed in pages of 500", tools, least=(MANY - 1) * TOOLS + 1),
        Figure("slowest page of them", max(times), "ms", below=50),
    ]


async def _joining(running: Fleet) -> list[Figure]:
    """Weigh the orchestrator before and after a hundred workers join: of new servers, and of known ones."""
    pid = running.orchestrators[0].process.pid
    figures = []
    async with _announced(running, MANY - JOINING):
        known = rss_bytes(pid)
        async with _announced(running, JOINING, first=MANY - JOINING - 1):
            new = rss_bytes(pid)
            async with _announced(running, JOINING, first=MANY - JOINING - 1, prefix="s"):
                more = rss_bytes(pid)
    for what, grown in (("with 50 tools of its own", new - known), ("of a known server", more - new)):
        figures.append(Figure(f"memory of a joining worker {what}", grown / JOINING / 1000, "kB", below=1000))
    return figures


@asynccontextmanager
async def _announced(running: Fleet, servers: int, *, first: int = 0, prefix: str = "i") -> AsyncIterator[None]:
    """Announce so many servers, the real one counted where they are the first; entered when the orchestrator knows."""
    before = await _instances(running)
    count = servers - 1 if first == 0 else servers
    options = (f"--first={first}", f"--servers={count}", f"--prefix={prefix}")
    async with python_process("tests.bench.capacity.announcers", *options, env={"NATS": running.nats.url}):
        await _until_there_are(running, before + count)
        yield
    await _until_there_are(running, before)


async def _until_there_are(running: Fleet, instances: int) -> None:
    async with asyncio.timeout(_SETTLED_S):
        while await _instances(running) != instances:
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)


async def _instances(running: Fleet) -> int:
    servers = (await running.get("/v1/servers")).json["servers"]
    return sum(version["instances"] for server in servers for version in server["versions"])
