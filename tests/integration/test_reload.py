"""`POST /v1/config/reload` on a real `busbar up`: servers come and go, and are reached in other ways, under load."""

import json
import os
import signal
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support.ground import CHANGED_S, at_url, ground, stdio
from tests.support.processes import running
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_servers_come_and_go_by_a_reload_and_no_query_of_another_is_lost(tmp_path: Path) -> None:
    steady, leaving, coming = stdio(tmp_path), stdio(tmp_path), at_url(tmp_path)
    async with ground(tmp_path, steady=steady, leaving=leaving) as one, anyio.create_task_group() as load:
        load.start_soon(one.ask_until_cancelled, "steady")
        one.write(steady=steady, coming=coming)
        report = (await one.reload()).json()
        assert report["applied"]
        assert (report["added"], report["removed"], report["changed"]) == (["coming"], ["leaving"], [])
        assert report["missing"] == []
        kinds = {name.partition("-")[0] for name in report["acknowledged_by"]}
        assert kinds == {"orchestrator", "health", "admin", "supervisor"}
        refused = await one.ask("leaving")
        assert (refused.status_code, refused.json()["code"]) == (404, "server_not_found")
        await one.wait_for("coming", 200)
        await one.wait_gone("worker-leaving-1")
        assert {"worker-coming-1", "server-coming", "worker-steady-1"} <= one.system.pids.keys()
        async with httpx.AsyncClient(trust_env=False) as client:
            report = (await client.get(f"{one.state['health']}/health/mcp")).json()
            metrics = (await client.get(f"{one.state['orchestrators'][0]}/metrics")).text
        assert report["mcp_servers"].keys() == {"steady", "coming"}
        assert 'mcp_query_duration_seconds_count{server="coming"}' in metrics
        load.cancel_scope.cancel()
    assert set(one.told) == {200}


async def test_a_configuration_that_is_wrong_changes_nothing_and_the_answer_says_what_without_a_value(
    tmp_path: Path,
) -> None:
    steady = stdio(tmp_path)
    async with ground(tmp_path, steady=steady) as one:
        pinned = (tmp_path / "state" / "workers.json").read_text()
        for wrong, where in (
            ({"timeout_s": "planted"}, "/servers/more/timeout_s"),
            ({"url": "planted"}, "/servers/more/url"),
            ({"command": ["${PLANTED_AND_UNSET}"]}, "/servers/more/command/0"),
        ):
            one.write(steady=steady, more={**stdio(tmp_path), **wrong})
            answer = await one.reload()
            assert answer.status_code == 422
            assert answer.json()["code"] == "invalid_config"
            assert where in {error["pointer"] for error in answer.json()["errors"]}
            assert "planted" not in answer.text
        assert (await one.ask("more")).status_code == 404
        assert (await one.ask("steady")).status_code == 200
        assert (tmp_path / "state" / "workers.json").read_text() == pinned
        outcomes = [
            json.loads(line)["outcome"] for line in (tmp_path / "state" / "audit.jsonl").read_text().splitlines()
        ]
        assert outcomes == ["attempted", "invalid_config"] * 3


async def test_what_a_call_may_take_is_in_force_at_once_and_nobody_is_replaced(tmp_path: Path) -> None:
    async with ground(tmp_path, steady=stdio(tmp_path)) as one:
        pid = one.system.pids["worker-steady-1"]
        assert (await one.ask("steady", ms=800)).status_code == 200
        one.write(steady=stdio(tmp_path, timeout_s=0.2))
        report = (await one.reload()).json()
        assert report["changed"] == ["steady"]
        assert any(name.startswith("worker-") for name in report["acknowledged_by"])
        assert (await one.ask("steady", ms=800)).status_code == 504
        assert one.system.pids["worker-steady-1"] == pid


async def test_workers_are_replaced_one_by_one_where_their_server_is_reached_in_another_way(tmp_path: Path) -> None:
    before, after = at_url(tmp_path), at_url(tmp_path)
    async with ground(tmp_path, steady=before) as one, anyio.create_task_group() as load:
        old = one.system.pids
        load.start_soon(one.ask_until_cancelled, "steady")
        one.write(steady=after)
        assert (await one.reload()).json()["changed"] == ["steady"]
        with anyio.fail_after(CHANGED_S):
            while {old["worker-steady-1"], old["server-steady"]} & set(one.system.pids.values()):
                await anyio.sleep(0.05)
        pid = (await one.ask("steady")).json()["result"]["structuredContent"]["pid"]
        assert pid in one.system.pids.values()
        assert pid != old["server-steady"]
        load.cancel_scope.cancel()
    assert set(one.told) == {200}


async def test_another_command_at_the_same_url_is_refused(tmp_path: Path) -> None:
    one_way = at_url(tmp_path)
    async with ground(tmp_path, steady=one_way) as one:
        one.write(steady={**one_way, "command": [*one_way["command"], "--name", "other"]})
        answer = await one.reload()
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/servers/steady/command")


async def test_the_command_says_what_has_come_and_what_is_wrong(tmp_path: Path) -> None:
    steady = stdio(tmp_path)
    async with ground(tmp_path, steady=steady) as one:
        command = [sys.executable, "-m", "services.cli", "config", "reload", "--state-dir", str(one.state_dir)]
        one.write(steady=steady, coming=stdio(tmp_path))
        async with running(command) as process:
            assert await process.wait(timeout_s=CHANGED_S) == 0, process.stderr()
            assert process.stdout().splitlines() == ["added: coming", "in force"]
        one.write(steady={**steady, "timeout_s": "planted"})
        async with running(command) as process:
            assert await process.wait(timeout_s=CHANGED_S) == 1
            assert "servers.steady.timeout_s" in process.stderr()
            assert "planted" not in process.stderr()


async def test_a_raised_version_waits_for_its_deploy(tmp_path: Path) -> None:
    async with ground(tmp_path, steady=stdio(tmp_path, version="1.0.0")) as one:
        pid = one.system.pids["worker-steady-1"]
        one.write(steady=stdio(tmp_path, version="1.1.0"))
        report = (await one.reload()).json()
        assert report["undeployed"] == ["steady"]
        assert (await one.ask("steady")).json()["version"] == "1.0.0"
        assert one.system.pids["worker-steady-1"] == pid


async def test_a_worker_that_was_ordered_to_drain_is_not_started_again(tmp_path: Path) -> None:
    async with ground(tmp_path, "--workers=2", steady=stdio(tmp_path)) as one:
        log = (one.state_dir / "logs" / "worker-steady-1.log").read_text().splitlines()
        instance = next(json.loads(line)["instance"] for line in log if "worker started" in line)
        assert (await one.admin.post(f"/v1/workers/{instance}/drain")).status_code == 202
        await one.wait_gone("worker-steady-1")
        # A death of the other worker is seen after that of the drained one would have been.
        other = one.system.pids["worker-steady-2"]
        os.kill(other, signal.SIGKILL)
        await until(lambda: one.system.pids.get("worker-steady-2", other) != other, timeout_s=CHANGED_S)
        assert "worker-steady-1" not in one.system.pids


async def test_the_supervisor_takes_orders_again_after_the_bus_was_away(tmp_path: Path) -> None:
    steady = stdio(tmp_path)
    async with ground(tmp_path, steady=steady) as one:
        old = one.system.pids["nats"]
        os.kill(old, signal.SIGKILL)
        await until(lambda: one.system.pids.get("nats", old) != old, timeout_s=CHANGED_S)
        one.write(steady=steady, coming=stdio(tmp_path))
        with anyio.fail_after(CHANGED_S):
            # Until everybody is back, a reload is refused or does without the supervisor; one more makes good for it.
            while not any(
                name.startswith("supervisor-") for name in (await one.reload()).json().get("acknowledged_by", ())
            ):
                await anyio.sleep(0.2)
        await one.wait_for("coming", 200)
