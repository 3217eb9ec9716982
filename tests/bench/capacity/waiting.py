"""1,000 and 5,000 callers at once of a tool that waits a second."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from tests.bench.capacity.callers import Line, Told, lines, request
from tests.bench.capacity.figures import Figure
from tests.bench.capacity.lean import NAME, lean_server
from tests.bench.ways import JSON, over_http
from tests.support.account import percentile
from tests.support.fleet import Fleet, fleet, python_server
from tests.support.processes import rss_bytes

WAITS_MS = 1000
TIMEOUT_MS = 10_000
GRACE_S = 0.5
ROUNDS = 5
"""Queries of each of the thousand callers, one after the other."""
_SLOTS = 1000
_HELD_MS = 5000
_HELD_UNTIL_S = 3.0
"""After so long all of the thousand are at the server, and none is answered yet."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A Busbar of one orchestrator and one worker before the lean server."""

    running: Fleet
    server_url: str
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def pids(self) -> tuple[int, int]:
        """Of orchestrator and worker."""
        return self.running.orchestrators[0].process.pid, self.running.workers[0].process.pid

    def rss_kb(self) -> tuple[float, float]:
        """Return the memory of orchestrator and worker, in kB."""
        orchestrator, worker = (rss_bytes(pid) / 1000 for pid in self.pids)
        return orchestrator, worker

    def query(self, ms: int) -> bytes:
        """Return a request, in the same bytes as none before, that asks for an answer after `ms` milliseconds."""
        arguments = {"ms": ms, "number": next(self._numbers)}
        fields = {"server": NAME, "tool": "answer", "arguments": arguments, "timeout_ms": TIMEOUT_MS}
        return request("POST", f"{self.running.urls[0]}/v1/query", JSON, json.dumps(fields).encode())

    async def calls(self) -> int:
        """How many calls have begun at the server, over HTTP."""
        async with lines(self.server_url, 1) as (line,):
            return int((await line.ask(request("GET", self.server_url.replace("/mcp", "/calls")), timeout_s=5)).body)


@asynccontextmanager
async def ground(*, is_stdio: bool = False) -> AsyncIterator[Ground]:
    """Start everything."""
    policy = {"max_in_flight": _SLOTS, "era": "modern"}
    if is_stdio:
        server = python_server("tests.bench.capacity.lean_server", "--stdio", **policy)
        async with fleet({NAME: server}) as running:
            yield Ground(running, "")
        return
    async with lean_server() as (url, _), fleet({NAME: {**over_http(url), **policy}}) as running:
        yield Ground(running, url)


async def measure_thousand() -> list[Figure]:
    """A thousand callers ask five times each, in turn; then all wait at once, and what they take is weighed."""
    async with ground() as one:
        told = await _ask(one, 1000, rounds=ROUNDS, ms=WAITS_MS)
        spread = await _ask(one, 1000, rounds=2, ms=WAITS_MS, spread_s=1.0)
        kinds = Counter(one.code for one in told)
        times, calm = (sorted(one.ms for one in some) for some in (told, spread[1000:]))
        figures = [
            Figure("queries of 1,000 callers", len(told)),
            Figure("answered", kinds["answered"], least=len(told)),
            Figure("p50", percentile(times, 50), "ms"),
            Figure("p99, all asking in one moment", percentile(times, 99), "ms", most=1500),
            Figure("p99, asking spread over the second", percentile(calm, 99), "ms", most=1500),
        ]
    for name, is_stdio in (("HTTP", False), ("stdio", True)):
        async with ground(is_stdio=is_stdio) as one:
            figures += await _weigh(one, name)
    return figures


async def measure_five_thousand() -> list[Figure]:
    """Five thousand callers ask at once, more than one orchestrator lets in; each must be told something in time."""
    async with ground() as one:
        told = await _ask(one, 5000, rounds=1, ms=WAITS_MS)
        begun = await one.calls()
        kinds = Counter(one.code for one in told)
        alive = await _ask(one, 10, rounds=1, ms=0)
    refused = sorted(one.ms for one in told if one.code not in {"answered", "lost"})
    answered = sorted(one.ms for one in told if one.code == "answered")
    late = sum(one.ms > TIMEOUT_MS + GRACE_S * 1000 for one in told)
    return [
        Figure("callers at once", len(told)),
        Figure("answered", kinds["answered"]),
        *(Figure(f"refused: `{code}`", count) for code, count in kinds.items() if code not in {"answered", "lost"}),
        Figure("lost", kinds["lost"], most=0),
        Figure("told after their deadline of 10 s", late, most=0),
        Figure("calls at the server that nobody was answered for", begun - kinds["answered"], most=0),
        Figure("p99 of the refusals", percentile(refused, 99), "ms", below=TIMEOUT_MS),
        Figure("p99 of the answers", percentile(answered, 99), "ms", below=TIMEOUT_MS),
        Figure("answered of 10 afterwards", sum(one.status == 200 for one in alive), least=10),
    ]


async def _weigh(one: Ground, name: str) -> list[Figure]:
    """Weigh orchestrator and worker: before, with a thousand connections that have been used, and while all wait."""
    await _ask(one, 10, rounds=3, ms=0)
    before = one.rss_kb()
    url = one.running.urls[0]
    async with lines(url, 1000) as all_of_them:
        for line in all_of_them:
            await line.ask(request("GET", f"{url}/livez"), timeout_s=5)
        connected = one.rss_kb()
        asking = asyncio.gather(*(line.ask(one.query(_HELD_MS), timeout_s=TIMEOUT_MS / 1000) for line in all_of_them))
        await asyncio.sleep(_HELD_UNTIL_S)
        waiting = one.rss_kb()
        told = await asking
    assert all(one.status == 200 and one.ms > _HELD_UNTIL_S * 1000 for one in told), Counter(one.code for one in told)
    connection = (connected[0] - before[0]) / 1000
    orchestrator, worker = ((now - then) / 1000 for now, then in zip(waiting, connected, strict=True))
    return [
        Figure(f"memory per waiting query, server over {name}", orchestrator + worker, "kB", below=30),
        Figure(f"of it orchestrator, {name}", orchestrator, "kB"),
        Figure(f"of it worker, {name}", worker, "kB"),
        Figure(f"memory of its caller's connection, {name}", connection, "kB"),
    ]


async def _ask(one: Ground, callers: int, *, rounds: int, ms: int, spread_s: float = 0.0) -> Sequence[Told]:
    """Let so many callers ask `rounds` times each; they begin at once, or spread over some seconds."""

    async def ask_in_turn(line: Line, wait_s: float) -> list[Told]:
        queries = [one.query(ms) for _ in range(rounds)]
        await asyncio.sleep(wait_s)
        return [await line.ask(query, timeout_s=TIMEOUT_MS / 1000 + GRACE_S) for query in queries]

    async with lines(one.running.urls[0], callers) as all_of_them:
        told = await asyncio.gather(
            *(ask_in_turn(line, spread_s * number / callers) for number, line in enumerate(all_of_them))
        )
    return [answer for turn in zip(*told, strict=True) for answer in turn]
