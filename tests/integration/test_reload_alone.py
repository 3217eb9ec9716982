"""A reload where no supervisor is: each worker checks its own server's private keys."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fleet import Fleet, fleet
from tests.support.ground import stdio
from tests.support.ports import free_port
from tests.support.processes import wait_ready

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def admin_of(one: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = await one.start_process("services.admin", env={"BUSBAR_ADMIN_PORT": str(port), **one.store_env})
    headers = {"authorization": f"Bearer {one.keys['boss']}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        await wait_ready(process, f"{url}/readyz")
        yield client


def write(one: Fleet, **servers: Any) -> None:
    (one.folder / "busbar.json").write_text(json.dumps({"servers": servers}))


async def test_replicas_and_workers_follow_their_own_files_and_a_removed_servers_worker_leaves(tmp_path: Path) -> None:
    steady, leaving = stdio(tmp_path), stdio(tmp_path)
    servers = {"steady": steady, "leaving": leaving}
    async with (
        fleet(servers, orchestrators=2, keys={"boss": {"scopes": ["admin"]}}) as one,
        admin_of(one) as admin,
    ):
        write(one, steady=stdio(tmp_path, timeout_s=0.2))
        answer = await admin.post("/v1/config/reload")
        report = answer.json()
        assert answer.status_code == 200, report
        assert (report["applied"], report["removed"], report["changed"]) == (True, ["leaving"], ["steady"])
        kinds = sorted(name.partition("-")[0] for name in report["acknowledged_by"])
        assert kinds == ["admin", "orchestrator", "orchestrator", "worker"]
        for orchestrator in (0, 1):
            slow = {"server": "steady", "tool": "record", "arguments": {"id": "1", "ms": 700}}
            assert (await one.ask_http(slow, orchestrator=orchestrator)).status == 504
            gone = {"server": "leaving", "tool": "record", "arguments": {"id": "2"}}
            assert (await one.ask_http(gone, orchestrator=orchestrator)).status == 404
        (worker,) = [worker for worker in one.workers if worker.server == "leaving"]
        assert await worker.process.wait(timeout_s=20) == 0


async def test_a_worker_refuses_a_private_key_that_it_could_not_use(tmp_path: Path) -> None:
    async with fleet({"steady": stdio(tmp_path)}, keys={"boss": {"scopes": ["admin"]}}) as one, admin_of(one) as admin:
        write(one, steady={"command": [sys.executable], "env": {"A": "${PLANTED_AND_UNSET}"}, "timeout_s": 1})
        answer = await admin.post("/v1/config/reload")
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/servers/steady/env/A"
        assert error["detail"].startswith("worker-")


async def test_a_silent_orchestrator_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    steady = stdio(tmp_path)
    async with (
        fleet({"steady": steady}, orchestrators=2, keys={"boss": {"scopes": ["admin"]}}) as one,
        admin_of(one) as admin,
    ):
        heard = (await admin.post("/v1/config/reload")).json()["acknowledged_by"]
        assert len([name for name in heard if name.startswith("orchestrator-")]) == 2
        one.orchestrators[1].process.pause()
        try:
            write(one, steady=steady, more=steady)
            answer = await admin.post("/v1/config/reload")
        finally:
            one.orchestrators[1].process.resume()
        report = answer.json()
        assert (answer.status_code, report["applied"], report["added"]) == (504, False, [])
        assert [name.partition("-")[0] for name in report["missing"]] == ["orchestrator"]
        names = {server["name"] for server in (await one.get("/v1/servers")).json["servers"]}
        assert names == {"steady"}
        assert (await admin.post("/v1/config/reload")).json()["added"] == ["more"]
