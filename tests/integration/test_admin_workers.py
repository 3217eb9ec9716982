"""`/v1/servers` and `/v1/workers`, before a real fleet: what is told of it, and a worker that is told to leave."""

import json
from pathlib import Path

import anyio
import pytest

from tests.chaos.bus import chaos_bus
from tests.support.admin import BOSS, admins
from tests.support.fleet import OWN_KEY, fleet, ledger_server, record
from tests.support.records import read_ledger

pytestmark = pytest.mark.anyio

CALLS = 60


async def test_a_worker_that_is_drained_leaves_for_good_and_loses_no_call(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with (
        fleet({"files": ledger_server(ledger)}, workers={"files": 2}, keys=BOSS) as running,
        admins(running, 2) as (desk, other),
    ):
        heard: list[bytes] = []
        client = await running.bus()

        async def hear(message: object) -> None:
            heard.append(message.data)  # type: ignore[attr-defined]  # nats-py's own

        await client.subscribe("mcp.v1.event.worker.files.*", cb=hear)
        statuses: list[int] = []

        async def ask(ms: int) -> None:
            statuses.append((await running.ask_http(record("files", ms=ms))).status)

        workers = (await desk.get("/v1/workers"))["workers"]
        instance = workers[0]["instance"]
        async with anyio.create_task_group() as tasks:
            for number in range(CALLS):
                tasks.start_soon(ask, 20 * (number % 30))
                if number == CALLS // 2:
                    answer = await desk.http.post(f"/v1/workers/{instance}/drain")
        assert (answer.status_code, answer.json()) == (
            202,
            {"instance": instance, "server": "files", "version": "0.0.0"},
        )
        assert statuses == [200] * CALLS
        ids = [line.id for line in read_ledger(ledger) if line.event == "start"]
        assert len(ids) == len(set(ids)) == CALLS

        for one in (desk, other):
            left = await one.until("/v1/workers", lambda told: len(told["workers"]) == 1)
            assert left["workers"][0]["instance"] != instance
        with anyio.fail_after(15):
            while not any(worker.process.returncode is not None for worker in running.workers):
                await anyio.sleep(0.02)
        assert sorted(str(worker.process.returncode) for worker in running.workers) == ["0", "None"]
        draining = [event for event in map(json.loads, heard) if event["event"] == "draining"]
        assert [(event["instance"], event["by_order"]) for event in draining] == [(instance, True)]
        again = await desk.http.post(f"/v1/workers/{instance}/drain")
        assert (again.status_code, again.json()["code"]) == (404, "worker_not_found")
        assert [entry["outcome"] for entry in desk.audited()] == ["attempted", "done", "attempted", "worker_not_found"]


async def test_a_worker_with_no_more_than_the_permissions_of_production_takes_orders(tmp_path: Path) -> None:
    async with (
        chaos_bus(tmp_path, nodes=1) as bus,
        fleet({"files": ledger_server(tmp_path / "ledger")}, workers={}, keys=BOSS, bus=bus.nodes[0]) as running,
        admins(running) as (desk,),
    ):
        worker = await running.start_worker("files", env={"BUSBAR_NATS_URL": bus.worker_url})
        await running.wait_connected()
        [told] = (await desk.until("/v1/workers", lambda told: told["workers"]))["workers"]
        servers = {"files": ledger_server(tmp_path / "ledger", timeout_s=5)}
        (running.folder / "busbar.json").write_text(json.dumps({"servers": servers}))
        reload = await desk.http.post("/v1/config/reload")
        assert f"worker-{told['instance']}" in reload.json()["acknowledged_by"]
        answer = await desk.http.post(f"/v1/workers/{told['instance']}/drain")
        assert (answer.status_code, answer.json().get("instance")) == (202, told["instance"])
        assert await worker.process.wait() == 0
        assert "bus error" not in worker.process.stderr()


async def test_a_worker_that_cannot_be_told_is_not_said_to_have_been(tmp_path: Path) -> None:
    async with (
        fleet({"files": ledger_server(tmp_path / "ledger")}, keys=BOSS) as running,
        admins(running) as (desk,),
    ):
        [worker] = (await desk.get("/v1/workers"))["workers"]
        path = f"/v1/workers/{worker['instance']}/drain"
        answers = [await desk.http.post("/v1/workers/nobody/drain"), await desk.http.post("/v1/workers/a-b/drain")]
        process = running.workers[0].process
        process.pause()
        answers.append(await desk.http.post(path))
        assert [(one.status_code, one.json()["code"]) for one in answers] == [
            (404, "worker_not_found"),
            (422, "invalid_request"),
            (504, "timeout"),
        ]
        for headers, status in (({}, 401), ({"authorization": f"Bearer {running.keys[OWN_KEY]}"}, 403)):
            desk.http.headers.pop("authorization", None)
            assert (await desk.http.post(path, headers=headers)).status_code == status
        desk.http.headers["authorization"] = f"Bearer {running.keys['boss']}"

        await running.nats.kill()
        with anyio.fail_after(10):
            while (await desk.http.get("/readyz")).status_code == 200:
                await anyio.sleep(0.02)
        away = await desk.http.post(path)
        assert (away.status_code, away.json()["code"]) == (503, "bus_unavailable")
        process.resume()
        assert [entry["outcome"] for entry in desk.audited() if entry["outcome"] != "attempted"] == [
            "worker_not_found",
            "invalid_request",
            "timeout",
            "unauthorized",
            "forbidden",
            "bus_unavailable",
        ]


async def test_every_server_is_listed_with_its_versions_workers_calls_and_what_is_wrong_with_it(
    tmp_path: Path,
) -> None:
    config = {
        "files": ledger_server(tmp_path / "ledger"),
        "never": {"url": "http://127.0.0.1:1/mcp"},
        "refuses": {"url": "http://127.0.0.1:1/mcp"},
    }
    workers = {"files": 1, "files@2.0.0": 2}
    async with fleet(config, workers=workers, keys=BOSS) as running, admins(running, 2) as (desk, other):
        await running.start_worker("refuses")
        await desk.until("/v1/servers", lambda told: told["servers"][2]["error"] == "Connection refused")
        closed = {"state": "closed", "opened_at": None, "until": None, "by": None, "reason": ""}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.ask_http, record("files", ms=3000))
            told = await desk.until("/v1/servers", lambda told: told["servers"][0]["in_flight"])
        files, never, refuses = told["servers"]
        # Which of the versions has the call is the one whose worker was first.
        assert sorted(version.pop("in_flight") for version in files["versions"]) == [0, 1]
        assert files == {
            "name": "files",
            "status": "connected",
            "error": None,
            "in_flight": 1,
            "versions": [
                {"version": "0.0.0", "workers": 1, "serving": 1, "breaker": closed},
                {"version": "2.0.0", "workers": 2, "serving": 2, "breaker": closed},
            ],
            "maintenance": None,
        }
        assert never == {
            "name": "never",
            "status": "disconnected",
            "error": "No live worker",
            "in_flight": 0,
            "versions": [],
            "maintenance": None,
        }
        assert (refuses["status"], refuses["versions"][0]["workers"], refuses["versions"][0]["serving"]) == (
            "disconnected",
            1,
            0,
        )
        idle = await desk.until("/v1/servers", lambda told: not told["servers"][0]["in_flight"])
        await other.until("/v1/servers", lambda told: told == idle)
        assert (await desk.http.get("/v1/servers", headers={"authorization": "Bearer no"})).status_code == 401
