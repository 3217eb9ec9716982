"""Rollouts, whole: real NATS, Valkey, orchestrators, admin services, and two versions of a server under load."""

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from services.runtime.auth.keys import add_key
from tests.support.fleet import Fleet, Worker, fleet
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY, RunningProcess, wait_ready
from tests.support.records import read_ledger
from tests.support.servers import NatsServer, ValkeyServer, valkey_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

OLD, NEW, SERVER = "1.0.0", "1.1.0", "files"
QUICK = {"steps": [20, 100], "step_s": 1, "min_requests": 10, "max_p95_ratio": 100}
"""Of such short steps a busy machine may take its time for most."""
_ASK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Admin:
    """One admin service, asked with an admin key."""

    process: RunningProcess
    http: httpx.AsyncClient


@dataclass
class Town:
    """A fleet under steady load, with admin services."""

    fleet: Fleet
    folder: Path
    _stack: AsyncExitStack
    admins: list[Admin] = field(default_factory=list)
    told: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How many queries were answered, by version and status; `-` where no version answered."""
    is_asking: bool = True

    @property
    def admin(self) -> httpx.AsyncClient:
        return self.admins[0].http

    async def start_admin(self) -> Admin:
        port, url = free_port(), ""
        keys_file = self.folder / "admin-keys.jsonl"
        key = add_key(keys_file, f"boss-{port}", scopes=["admin"])
        process = await self.fleet.start_process(
            "services.admin",
            env={
                "BUSBAR_ADMIN_PORT": str(port),
                "BUSBAR_KEYS_FILE": str(keys_file),
                "BUSBAR_STATE_DIR": str(self.folder / "state"),
                **self.fleet.store_env,
            },
        )
        url = f"http://127.0.0.1:{port}"
        http = await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, headers={"authorization": f"Bearer {key}"})
        )
        await wait_ready(process, f"{url}/readyz")
        self.admins.append(Admin(process, http))
        return self.admins[-1]

    async def release(self, *options: str, version: str = NEW, is_up: bool = True) -> Worker:
        """Start a worker of another version, whose server has these options."""
        worker = await self.fleet.start_worker(SERVER, version=version, command=command(self.folder, version, *options))
        if is_up:
            await self.fleet.wait_connected()
        return worker

    async def ask(self, *, orchestrator: int = 0) -> None:
        """Ask one query, and count the answer."""
        body = {"server": SERVER, "tool": "record", "arguments": {"id": "q"}, "timeout_ms": 10_000}
        answer = await self.fleet.ask_http(body, orchestrator=orchestrator)
        self.told[str(answer.json.get("version", "-")), answer.status] += 1

    async def load(self) -> None:
        """Ask every orchestrator by turns, some fifty times a second, each query by itself."""
        async with anyio.create_task_group() as tasks:
            turn = 0
            while self.is_asking:
                turn += 1
                at = turn % len(self.fleet.orchestrators)
                tasks.start_soon(self._ask_at, at)
                await anyio.sleep(_ASK_EVERY_S)

    async def _ask_at(self, orchestrator: int) -> None:
        await self.ask(orchestrator=orchestrator)

    async def begin(self, **order: Any) -> dict[str, Any]:
        """Start a rollout to the new version."""
        answer = await self.admin.post("/v1/rollouts", json={"server": SERVER, "to_version": NEW, **QUICK, **order})
        assert answer.status_code == 201, answer.text
        begun: dict[str, Any] = answer.json()
        return begun

    async def order(self, rollout: dict[str, Any], order: str) -> httpx.Response:
        return await self.admin.post(f"/v1/rollouts/{rollout['id']}/{order}")

    async def read(self, rollout: dict[str, Any]) -> dict[str, Any]:
        answer = await self.admins[-1].http.get(f"/v1/rollouts/{rollout['id']}")
        read: dict[str, Any] = answer.json()
        return read

    async def until(
        self, rollout: dict[str, Any], *states: str, timeout_s: float = 40, **fields: Any
    ) -> dict[str, Any]:
        """Return the rollout when it has one of the states, and these fields."""
        read = rollout
        with anyio.move_on_after(timeout_s):
            while True:
                read = await self.read(rollout)
                if read["state"] in states and fields.items() <= read.items():
                    return read
                await anyio.sleep(0.05)
        raise AssertionError(f"it is {read}\n{self.admins[-1].process.stderr()[-3000:]}")

    async def weights(self, orchestrator: int = 0) -> dict[str, float]:
        """The weights in force, as an orchestrator tells its callers."""
        servers = (await self.fleet.get("/v1/servers", orchestrator=orchestrator)).json["servers"]
        return {one["version"]: one["weight"] for server in servers for one in server["versions"]}

    async def until_in_force(self, weights: dict[str, float]) -> None:
        """Return when every orchestrator goes by the weights; versions that are not among them have none."""
        with anyio.fail_after(10):
            for orchestrator in range(len(self.fleet.orchestrators)):
                while {name: share for name, share in (await self.weights(orchestrator)).items() if share} != weights:
                    await anyio.sleep(0.02)

    def dispatched(self) -> dict[str, int]:
        """How many calls reached each version, by their ledgers."""
        return {version: sum(1 for _ in read_ledger(self.folder / version)) for version in (OLD, NEW)}


def command(folder: Path, version: str, *options: str) -> list[str]:
    """How the server of a version is started."""
    (folder / version).touch()
    ledger = str(folder / version)
    return [sys.executable, "-m", "tests.support.mcp_servers.changed", "--ledger", ledger, *options]


@asynccontextmanager
async def town(
    folder: Path, nats: NatsServer, store: ValkeyServer, *, admins: int = 1, orchestrators: int = 2
) -> AsyncIterator[Town]:
    """Run the old version behind two orchestrators, with a store, without load."""
    config = {SERVER: {"version": OLD, "command": command(folder, OLD), "cwd": str(REPOSITORY), "timeout_s": 20}}
    async with (
        AsyncExitStack() as stack,
        fleet(config, orchestrators=orchestrators, bus=nats, store=store) as running,
    ):
        here = Town(running, folder, stack)
        for _ in range(admins):
            await here.start_admin()
        yield here


@asynccontextmanager
async def under_load(here: Town) -> AsyncIterator[None]:
    """Ask all the time; at the end every query has been answered."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.load)
        try:
            yield
        finally:
            here.is_asking = False


async def test_a_good_version_takes_over_and_the_old_ones_workers_leave(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with town(tmp_path, nats, valkey) as here:
        await here.release()
        assert await here.weights() == {OLD: 100, NEW: 0}
        async with under_load(here):
            rollout = await here.begin(steps=[20, 50, 100])
            assert rollout == {
                "id": rollout["id"],
                "server": SERVER,
                "from_version": OLD,
                "to_version": NEW,
                "state": "running",
                "weight": 0,
                "step": 0,
                "reason": "",
                "observed": {version: {"requests": 0, "errors": 0, "p95_ms": 0} for version in (OLD, NEW)},
            }
            await here.until(rollout, "running", weight=50)
            await here.until_in_force({OLD: 50, NEW: 50})
            done = await here.until(rollout, "completed")
            old = here.fleet.workers[0].process
            assert await old.wait() == 0
        assert (done["weight"], done["step"], done["reason"]) == (100, 3, "")
        assert done["observed"].keys() == {OLD, NEW}
        assert await here.weights() == {NEW: 100}
        assert {status for _, status in here.told} == {200}
        assert (await here.admin.get("/v1/rollouts")).json() == {"rollouts": [done]}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--errors", "4"], "requests failed"),
        (["--ms", "700"], "95 % of calls take up to"),
        (["--hangs"], "95 % of calls take up to"),
        (["--crashes"], ""),
        (["--lacks"], "lacks what the old version has: look_up"),
    ],
    ids=["errors", "slower", "hangs", "crashes", "lacks a tool"],
)
async def test_a_worse_version_goes_back_by_itself(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer, options: list[str], reason: str
) -> None:
    async with town(tmp_path, nats, valkey) as here:
        await here.release(*options)
        async with under_load(here):
            rollout = await here.begin(step_s=20, max_p95_ratio=1.5)
            back = await here.until(rollout, "rolled_back")
            assert reason in back["reason"]
            assert back["reason"]
            assert back["weight"] == 0
            await here.until_in_force({OLD: 100})
            before, answered = here.dispatched(), here.told[OLD, 200]
            await until(lambda: here.told[OLD, 200] > answered + 20)
            after = here.dispatched()
        assert after[NEW] - before[NEW] <= len(here.fleet.orchestrators), "but for calls on their way"
        assert after[OLD] > before[OLD]
        assert here.fleet.workers[0].process.returncode is None


async def test_the_split_of_each_step_is_exact_to_one_call_of_each_orchestrator(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with town(tmp_path, nats, valkey) as here:
        await here.release()
        rollout = await here.begin(steps=[10, 50, 100], step_s=3600)
        for weight, queries in ((10, 101), (50, 51)):
            await here.until(rollout, "running", weight=weight)
            await here.until_in_force({OLD: 100 - weight, NEW: weight})
            before = here.dispatched()
            for number in range(2 * queries):
                await here.ask(orchestrator=number % 2)
            after = here.dispatched()
            assert sum(after.values()) - sum(before.values()) == 2 * queries
            assert abs(after[NEW] - before[NEW] - 2 * queries * weight / 100) <= 2
            if weight == 10:
                assert (await here.order(rollout, "rollback")).status_code == 200
                rollout = await here.begin(steps=[50, 100], step_s=3600)
        assert {status for _, status in here.told} == {200}


async def test_an_operator_holds_hastens_and_takes_back_a_rollout(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with town(tmp_path, nats, valkey) as here, under_load(here):
        await here.release()
        rollout = await here.begin(step_s=0.5)
        assert (await here.admin.post("/v1/rollouts", json={"server": SERVER, "to_version": NEW})).status_code == 409
        await here.until(rollout, "running", step=1)
        paused = (await here.order(rollout, "pause")).json()
        assert (paused["state"], paused["weight"], paused["reason"]) == ("paused", 20, "paused by an operator")
        assert (await here.order(rollout, "pause")).status_code == 409
        asked = here.told.total()
        await until(lambda: here.told.total() > asked + 150)  # several times as long as a step
        assert (await here.read(rollout))["weight"] == 20

        back = (await here.order(rollout, "rollback")).json()
        assert (back["state"], back["weight"], back["reason"]) == ("rolled_back", 0, "rolled back by an operator")
        await here.until_in_force({OLD: 100})
        for order in ("pause", "resume", "promote", "rollback"):
            refused = await here.order(rollout, order)
            assert (refused.status_code, refused.json()["code"]) == (409, "rollout_conflict")

        second = await here.begin(step_s=0.5, steps=[10, 20])
        await here.until(second, "running", step=1)
        assert (await here.order(second, "pause")).status_code == 200
        assert (await here.order(second, "resume")).json()["state"] == "running"
        await here.until(second, "running", step=2)
        promoted = (await here.order(second, "promote")).json()
        assert (promoted["weight"], promoted["reason"]) == (100, "promoted by an operator")
        await here.until(second, "completed")
        assert await here.fleet.workers[0].process.wait() == 0
        listed = (await here.admin.get("/v1/rollouts")).json()["rollouts"]
        assert [one["id"] for one in listed] == [second["id"], rollout["id"]]
    assert {status for _, status in here.told} == {200}


async def test_without_traffic_a_step_passes_without_evidence_or_pauses(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with town(tmp_path, nats, valkey, orchestrators=1) as here:
        await here.release()
        rollout = await here.begin(step_s=0.5, require_traffic=True)
        paused = await here.until(rollout, "paused")
        assert (paused["reason"], paused["weight"]) == ("step 1 has seen 0 of 10 requests", 20)
        assert (await here.order(rollout, "rollback")).status_code == 200
        done = await here.until(await here.begin(step_s=0.5), "completed")
        assert done["reason"] == "step 2 passed without evidence: 0 of 10 requests"


async def test_when_the_driving_admin_is_killed_the_weights_stay_and_the_other_finishes(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with town(tmp_path, nats, valkey, admins=2) as here, under_load(here):
        await here.release()
        rollout = await here.begin(step_s=3)
        await here.until(rollout, "running", weight=20)
        await here.until_in_force({OLD: 80, NEW: 20})
        driving = [admin for admin in here.admins if "driving rollouts" in admin.process.stderr()]
        assert len(driving) == 1
        await driving[0].process.kill()
        here.admins.remove(driving[0])
        assert (await here.weights())[NEW] == 20
        assert (await here.order(rollout, "pause")).status_code == 200
        assert (await here.order(rollout, "resume")).status_code == 200
        await here.until(rollout, "completed")
    assert {status for _, status in here.told} == {200}


async def test_when_the_driving_admin_is_killed_the_other_takes_a_worse_version_back(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    async with town(tmp_path, nats, valkey, admins=2) as here:
        await here.release("--errors", "3")
        rollout = await here.begin(step_s=60)
        await here.until_in_force({OLD: 80, NEW: 20})
        driving = next(admin for admin in here.admins if "driving rollouts" in admin.process.stderr())
        await driving.process.kill()
        here.admins.remove(driving)
        async with under_load(here):
            back = await here.until(rollout, "rolled_back")
        assert "requests failed" in back["reason"]


async def test_weights_outlast_every_orchestrator_and_the_store(tmp_path: Path, nats: NatsServer) -> None:
    async with valkey_server() as store, town(tmp_path, nats, store, orchestrators=2) as here:
        await here.release()
        rollout = await here.begin(steps=[30, 100], step_s=3600)
        await here.until_in_force({OLD: 70, NEW: 30})

        for orchestrator in here.fleet.orchestrators:
            await orchestrator.process.kill()
        here.fleet.orchestrators.clear()
        await here.admins[0].process.kill()
        await here.fleet.start_orchestrators(2)
        await here.until_in_force({OLD: 70, NEW: 30})  # nobody but the store knew

        await store.kill()
        await here.fleet.orchestrators.pop().process.kill()
        await here.fleet.start_orchestrators(1)
        await here.until_in_force({OLD: 70, NEW: 30})  # nobody but the peer knew

        await store.start()  # empty
        await until(
            lambda: all("store is back" in orchestrator.process.stderr() for orchestrator in here.fleet.orchestrators)
        )
        for orchestrator in here.fleet.orchestrators:
            await orchestrator.process.kill()
        here.fleet.orchestrators.clear()
        await here.fleet.start_orchestrators(1)
        await here.until_in_force({OLD: 70, NEW: 30})  # the store was told again
        assert rollout["state"] == "running"


async def test_without_the_store_the_weights_stay_and_nothing_is_begun(tmp_path: Path, nats: NatsServer) -> None:
    async with valkey_server(config="appendonly yes") as store, town(tmp_path, nats, store) as here, under_load(here):
        await here.release()
        rollout = await here.begin(step_s=1)
        await here.until(rollout, "running", weight=20)
        await store.kill()
        answers = [
            await here.admin.post("/v1/rollouts", json={"server": SERVER, "to_version": NEW}),
            await here.order(rollout, "rollback"),
            await here.admin.get("/v1/rollouts"),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "store_unavailable")] * 3
        asked = here.told.total()
        await until(lambda: here.told.total() > asked + 100)
        assert (await here.weights())[NEW] == 20
        await store.start()
        await until(lambda: "store is back" in here.admins[0].process.stderr())
        await here.until(rollout, "completed")


async def test_what_cannot_be_begun_is_refused_and_audited(
    tmp_path: Path, nats: NatsServer, valkey: ValkeyServer
) -> None:
    refused = {
        (404, "server_not_found"): {"server": "nowhere", "to_version": NEW},
        (404, "version_not_found"): {"server": SERVER, "to_version": "9.9.9"},
        (409, "rollout_conflict"): {"server": SERVER, "to_version": OLD},
    }
    wrong: list[dict[str, Any]] = [
        {"steps": []},
        {"steps": [0]},
        {"steps": [101]},
        {"steps": [50, 10]},
        {"steps": [10, 10]},
        {"steps": ["10"]},
        {"step_s": 0},
        {"step_s": "30"},
        {"max_error_rate": -1},
        {"max_p95_ratio": 0.5},
        {"max_p95_ratio": True},
        {"max_p95_ratio": "1.5"},
        {"min_requests": -1},
        {"require_traffic": 1},
        {"from_version": OLD},
        {"to_version": "one"},
    ]
    malformed = [{}, {"to_version": NEW}, *({"server": SERVER, "to_version": OLD, **one} for one in wrong)]
    async with town(tmp_path, nats, valkey, orchestrators=1) as here:
        for expected, body in refused.items():
            answer = await here.admin.post("/v1/rollouts", json=body)
            assert (answer.status_code, answer.json()["code"]) == expected
        for body in malformed:
            answer = await here.admin.post("/v1/rollouts", json=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), body
        for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/promote")):
            answer = await here.admin.request(method, f"/v1/rollouts/01KAVSFC3C8Q6T2V5M8R4N7W1X{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "rollout_not_found")
        assert (await here.admin.get("/v1/rollouts")).json() == {"rollouts": []}
        audited = [json.loads(line) for line in (tmp_path / "state" / "audit.jsonl").read_text().splitlines()]
        outcomes = [(entry["action"], entry["target"], entry["outcome"]) for entry in audited]
        assert ("start_rollout", {"server": SERVER, "to_version": "9.9.9"}, "version_not_found") in outcomes
        async with httpx.AsyncClient(base_url=here.admin.base_url, trust_env=False) as stranger:
            assert (await stranger.post("/v1/rollouts", json={})).status_code == 401
            assert (await stranger.get("/v1/rollouts")).status_code == 401
