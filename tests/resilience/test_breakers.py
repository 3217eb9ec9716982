"""A server that fails again and again is left alone by every orchestrator, and asked again by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.fleet import Answered, Fleet, fleet, ledger_server, record
from tests.support.records import read_ledger
from tests.support.servers import ValkeyServer

pytestmark = pytest.mark.anyio

FAILURES = 5
OPEN_S = 2.5


class Failing:
    """Two orchestrators before a server that fails when it is asked to, and perhaps its alternate."""

    def __init__(self, fleet: Fleet, ledger: Path) -> None:
        self.fleet = fleet
        self._ledger = ledger

    async def ask(self, orchestrator: int = 0, **arguments: Any) -> Answered:
        return await self.fleet.ask_http({**record("failing", **arguments)}, orchestrator=orchestrator)

    async def fail(self, orchestrator: int = 0) -> None:
        """Let a call take longer than the server may."""
        answer = await self.ask(orchestrator, fail="hang")
        assert (answer.status, answer.json["code"]) == (504, "timeout")

    def started(self) -> int:
        """How many calls the server has begun with."""
        return sum(line.event == "start" for line in read_ledger(self._ledger))

    async def metric(self, name: str, orchestrator: int = 0, **labels: str) -> float:
        wanted = {"server": "failing", "version": "0.0.0", **labels}
        text = (await self.fleet.get("/metrics", orchestrator=orchestrator)).body.decode()
        for line in text.splitlines():
            if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in wanted.items()):
                return float(line.rpartition(" ")[2])
        raise AssertionError(name)

    async def until_state(self, state: float, *, timeout_s: float) -> None:
        """Return when both orchestrators say that the breaker is in that state."""
        with anyio.fail_after(timeout_s):
            for orchestrator in (0, 1):
                while await self.metric("mcp_circuit_breaker_state", orchestrator) != state:
                    await anyio.sleep(0.02)


@asynccontextmanager
async def failing(
    folder: Path,
    *,
    has_alternate: bool,
    open_s: float = OPEN_S,
    timeout_s: float = 0.5,
    store: ValkeyServer | None = None,
    **policy: Any,
) -> AsyncIterator[Failing]:
    ledger = folder / "failing.jsonl"
    config = {"failing": ledger_server(ledger, timeout_s=timeout_s, **policy)}
    if has_alternate:
        config["failing"]["alternates"] = ["well"]
        config["well"] = ledger_server(folder / "well.jsonl")
    env = {"BUSBAR_BREAKER_OPEN_S": str(open_s)}
    async with fleet(config, orchestrators=2, env=env, store=store) as running:
        yield Failing(running, ledger)


async def test_it_opens_on_exactly_the_fifth_failure_and_the_alternate_answers_on_every_orchestrator(
    tmp_path: Path,
) -> None:
    async with failing(tmp_path, has_alternate=True, open_s=30) as world:
        for _ in range(FAILURES - 1):
            await world.fail()
        well = await world.ask()
        assert (well.status, well.json["server"]) == (200, "failing"), "four are not enough, and it begins anew"
        for _ in range(FAILURES):
            await world.fail()
        assert world.started() == 2 * FAILURES
        await world.until_state(1, timeout_s=1)
        for orchestrator in (0, 1):
            answer = await world.ask(orchestrator)
            assert (answer.status, answer.json["server"], answer.json["attempts"]) == (200, "well", 1)
            assert await world.metric("mcp_circuit_breaker_refused_total", orchestrator) == 1
            assert await world.metric("mcp_circuit_breaker_transitions_total", orchestrator, state="open") == 1
        assert world.started() == 2 * FAILURES


async def test_without_an_alternate_it_is_refused_with_what_is_left_and_an_orchestrator_that_starts_refuses_too(
    tmp_path: Path,
) -> None:
    async with failing(tmp_path, has_alternate=False, open_s=30) as world:
        for _ in range(FAILURES):
            await world.fail()
        await world.until_state(1, timeout_s=1)
        await world.fleet.start_orchestrators()
        for orchestrator in (0, 1, 2):
            answer = await world.ask(orchestrator)
            problem = answer.json
            assert (answer.status, problem["code"]) == (503, "circuit_open")
            assert (problem["retryable"], problem["executed"]) == (True, "no")
            assert 15 < int(answer.headers["retry-after"]) <= 33
        assert world.started() == FAILURES


async def test_when_the_time_is_over_one_call_of_the_whole_fleet_is_the_probe_and_closes_it_for_all(
    tmp_path: Path,
) -> None:
    async with failing(tmp_path, has_alternate=True, timeout_s=1.5) as world:
        for _ in range(FAILURES):
            await world.fail()
        await world.until_state(2, timeout_s=10)
        # The probe goes on until the last of the others has come, also where two cores have more to do than this.
        answers = await asyncio.gather(*(world.ask(number % 2, ms=1000) for number in range(20)))
        servers = [answer.json["server"] for answer in answers]
        assert (servers.count("failing"), servers.count("well")) == (1, 19)
        assert world.started() == FAILURES + 1
        await world.until_state(0, timeout_s=1)
        for orchestrator in (0, 1):
            assert (await world.ask(orchestrator)).json["server"] == "failing"


async def test_a_probe_that_fails_leaves_it_open_everywhere(tmp_path: Path) -> None:
    async with failing(tmp_path, has_alternate=True) as world:
        for _ in range(FAILURES):
            await world.fail()
        await world.until_state(2, timeout_s=10)
        await world.fail()
        await world.until_state(1, timeout_s=1)
        assert (await world.ask(0)).json["server"] == "well"
        assert world.started() == FAILURES + 1


async def test_what_is_cached_is_answered_without_asking_the_breaker(tmp_path: Path, valkey: ValkeyServer) -> None:
    tools = {"record": {"cache_ttl_s": 600}}
    async with failing(tmp_path, has_alternate=False, open_s=30, store=valkey, tools=tools) as world:
        first = await world.ask(id="kept")
        for _ in range(FAILURES):
            await world.fail()
        await world.until_state(1, timeout_s=1)
        for orchestrator in (0, 1):
            again = await world.ask(orchestrator, id="kept")
            assert (again.status, again.json["cache"], again.json["attempts"]) == (200, "hit", 0)
            assert again.raw_result == first.raw_result
            assert await world.metric("mcp_circuit_breaker_refused_total", orchestrator) == 0


async def test_a_server_that_comes_back_is_asked_again_without_a_wait(tmp_path: Path) -> None:
    """Five calls die with it at once, and open the breaker for half a minute; its return does not take that long."""
    async with failing(tmp_path, has_alternate=False, open_s=30) as world:
        dying = [asyncio.create_task(world.ask(ms=250)) for _ in range(FAILURES)]
        with anyio.fail_after(5):
            while world.started() < FAILURES:
                await anyio.sleep(0.01)
        await world.ask(fail="exit")
        codes = [answer.json["code"] for answer in await asyncio.gather(*dying)]
        assert codes == ["upstream_error"] * FAILURES
        assert await world.metric("mcp_circuit_breaker_transitions_total", state="open") >= 1
        with anyio.fail_after(10):
            while (await world.ask()).status != 200:
                await anyio.sleep(0.05)
        await world.until_state(0, timeout_s=1)


async def test_a_worker_that_is_killed_opens_nothing(tmp_path: Path) -> None:
    """The calls that it held are lost; its server is not to blame."""
    async with failing(tmp_path, has_alternate=False, timeout_s=30) as world:
        held = [asyncio.create_task(world.ask(ms=60_000)) for _ in range(2 * FAILURES)]
        with anyio.fail_after(5):
            while world.started() < len(held):
                await anyio.sleep(0.01)
        [worker] = world.fleet.workers
        await worker.process.kill()
        with anyio.fail_after(15):
            assert {answer.json["code"] for answer in await asyncio.gather(*held)} == {"upstream_error"}
        assert await world.metric("mcp_circuit_breaker_transitions_total", state="open") == 0
