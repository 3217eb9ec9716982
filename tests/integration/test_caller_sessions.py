"""`session: caller`: each caller has a session of its own, wherever it asks, and is told when it is lost."""

import os
import signal
from typing import Any, NamedTuple

import anyio
import psutil
import pytest

from tests.support.fleet import Fleet, fleet, python_server
from tests.support.ports import free_port
from tests.support.processes import descendants, python_process
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SERVER = "tests.support.mcp_servers.stateful"
KEYS: dict[str, dict[str, Any]] = {"ann": {}, "bob": {}, "eve": {}}


class Counted(NamedTuple):
    """What `count` returned, and by which worker."""

    number: int
    pid: int
    instance: str


def stateful(**policy: Any) -> dict[str, Any]:
    return {"stateful": python_server(SERVER, session="caller", **policy)}


async def ask(running: Fleet, caller: str, *, orchestrator: int = 0) -> Any:
    """Let a caller count; return the answer's or the problem's JSON."""
    query = {"server": "stateful", "tool": "count"}
    return (await running.ask_http(query, key=caller, orchestrator=orchestrator)).json


async def count(running: Fleet, caller: str, *, orchestrator: int = 0) -> Counted:
    answer = await ask(running, caller, orchestrator=orchestrator)
    assert "result" in answer, answer
    counted = answer["result"]["structuredContent"]
    return Counted(counted["count"], counted["pid"], answer["instance"])


async def workers_by_instance(running: Fleet, callers: list[str]) -> dict[str, int]:
    """The index of the worker that holds each caller, by the process of the caller's session."""
    held = {}
    for caller in callers:
        pid = (await count(running, caller)).pid
        ancestors = {parent.pid for parent in psutil.Process(pid).parents()}
        [held[caller]] = [i for i, worker in enumerate(running.workers) if worker.process.pid in ancestors]
    return held


async def test_callers_never_see_each_others_state_over_two_orchestrators_and_two_workers() -> None:
    async with fleet(stateful(), orchestrators=2, workers={"stateful": 2}, keys=KEYS) as running:
        seen: dict[str, list[Counted]] = {caller: [] for caller in KEYS}

        async def count_on(caller: str) -> None:
            for number in range(6):
                seen[caller].append(await count(running, caller, orchestrator=number % 2))

        async with anyio.create_task_group() as callers:
            for caller in KEYS:
                callers.start_soon(count_on, caller)

        for caller in KEYS:
            assert [one.number for one in seen[caller]] == [1, 2, 3, 4, 5, 6]
            assert len({one.instance for one in seen[caller]}) == 1
        assert len({counted[0].pid for counted in seen.values()}) == len(KEYS)


async def test_one_callers_first_calls_at_once_meet_in_one_session() -> None:
    async with fleet(stateful(), orchestrators=2, workers={"stateful": 3}, keys=KEYS) as running:
        seen: list[Counted] = []

        async def count_once(orchestrator: int) -> None:
            seen.append(await count(running, "ann", orchestrator=orchestrator))

        async with anyio.create_task_group() as calls:
            for number in range(8):
                calls.start_soon(count_once, number % 2)

        assert sorted(one.number for one in seen) == list(range(1, 9))
        assert len({one.pid for one in seen}) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_caller_whose_worker_is_gone_is_told_once_and_then_has_a_fresh_session(number: signal.Signals) -> None:
    async with fleet(stateful(), orchestrators=2, workers={"stateful": 2}, keys=KEYS) as running:
        held = await workers_by_instance(running, list(KEYS))
        before = {caller: await count(running, caller, orchestrator=1) for caller in KEYS}
        gone = held["ann"]
        process = running.workers[gone].process
        process.signal(number)
        await process.wait(timeout_s=20)
        await until(lambda: not process.leftovers(), timeout_s=5)

        for caller in KEYS:
            if held[caller] == gone:
                assert (await ask(running, caller))["code"] == "upstream_error"
                after = [await count(running, caller, orchestrator=number) for number in (1, 0, 1)]
                assert [one.number for one in after] == [1, 2, 3]
                assert {one.instance for one in after}.isdisjoint({before[caller].instance})
            else:
                assert (await count(running, caller)).number == before[caller].number + 1


async def test_a_caller_whose_own_server_process_died_is_told_once_and_nobody_else_is() -> None:
    async with fleet(stateful(), keys=KEYS) as running:
        anns = await count(running, "ann")
        assert (await count(running, "bob")).number == 1
        os.kill(anns.pid, signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(anns.pid))

        with anyio.fail_after(10):
            while "result" in (problem := await ask(running, "ann")) or problem["code"] == "server_unavailable":
                await anyio.sleep(0.01)
        assert problem["code"] == "upstream_error"
        assert (await count(running, "ann")).number == 1
        assert (await count(running, "bob")).number == 2


async def test_a_caller_keeps_its_session_while_the_workers_shared_one_is_opened_anew() -> None:
    async with fleet(stateful(), keys=KEYS) as running:
        anns = await count(running, "ann")
        servers = [
            pid
            for pid in descendants(running.workers[0].process.pid)
            if pid != anns.pid and SERVER in psutil.Process(pid).cmdline()
        ]
        assert len(servers) == 1
        os.kill(servers[0], signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(servers[0]))

        for expected in (2, 3):
            with anyio.fail_after(20):
                while (answer := await ask(running, "ann")).get("code") == "server_unavailable":
                    await anyio.sleep(0.01)
            assert answer["result"]["structuredContent"] == {"count": expected, "pid": anns.pid}
            await running.wait_connected()


async def test_a_session_ends_when_its_caller_has_not_come_for_long() -> None:
    env = {"BUSBAR_CALLER_IDLE_S": "1"}
    async with fleet(stateful(), orchestrators=2, keys=KEYS, env=env) as running:
        first = await count(running, "ann")
        await until(lambda: not psutil.pid_exists(first.pid))
        second = await count(running, "ann", orchestrator=1)
        assert second.number == 1
        assert second.pid != first.pid


async def test_there_is_room_for_so_many_callers_and_no_more() -> None:
    async with fleet(stateful(), keys=KEYS, env={"BUSBAR_MAX_CALLERS": "2"}) as running:
        for caller in ("ann", "bob"):
            assert (await count(running, caller)).number == 1
        problem = await ask(running, "eve")
        assert (problem["code"], problem["executed"]) == ("overloaded", "no")
        assert (await count(running, "ann")).number == 2


async def test_over_http_each_caller_has_a_session_id_of_its_own_and_is_told_when_the_server_forgot_it() -> None:
    port = free_port()
    config = {"stateful": {"url": f"http://127.0.0.1:{port}/mcp", "era": "legacy", "session": "caller"}}
    async with fleet(config, workers={}, orchestrators=2, keys=KEYS) as running:
        async with python_process(SERVER, "--port", str(port)):
            for _ in range(2):
                await running.start_worker("stateful")
            await running.wait_connected()
            for caller in ("ann", "bob"):
                counted = [(await count(running, caller, orchestrator=number % 2)).number for number in range(4)]
                assert counted == [1, 2, 3, 4]

        async with python_process(SERVER, "--port", str(port)):
            await running.wait_connected()
            for caller in ("ann", "bob"):
                with anyio.fail_after(10):
                    while (problem := await ask(running, caller)).get("code") == "server_unavailable":
                        await anyio.sleep(0.01)
                assert problem["code"] == "upstream_error"
                assert (await count(running, caller, orchestrator=1)).number == 1
