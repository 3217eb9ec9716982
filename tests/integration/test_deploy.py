"""`busbar deploy` and `busbar rollout` on a real `busbar up`: a version takes over under load, or goes back."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from bus_schemas.config import DeployServer, StopAnswer, StopVersion
from services.cli.supervisors import order_supervisor
from tests.support.ground import CHANGED_S, Ground, at_url, ground
from tests.support.processes import RunningProcess, running

pytestmark = pytest.mark.anyio

CLI = [sys.executable, "-m", "services.cli"]
DEPLOY_S = 120.0


@asynccontextmanager
async def deploying(one: Ground, *options: str, **server: Any) -> AsyncIterator[RunningProcess]:
    """Run `busbar deploy` of another version of `products`, from a file of its own."""
    path = one.config.with_name("next.yaml")
    path.write_text(json.dumps({"servers": {"products": server}}))
    path.chmod(0o600)
    arguments = ["deploy", "products", "--config", str(path), "--state-dir", str(one.state_dir), *options]
    async with running([*CLI, *arguments]) as process:
        yield process


async def cli(one: Ground, *arguments: str) -> str:
    """Run another command to its end, which must be a good one; return what it prints."""
    async with running([*CLI, *arguments, "--state-dir", str(one.state_dir)]) as process:
        status = await process.wait(timeout_s=CHANGED_S)
        assert status == 0, process.stderr()
        return process.stdout()


async def serving(one: Ground, *versions: str) -> dict[str, str]:
    """Return one instance of each of these versions of `products` when all of them serve."""
    with anyio.fail_after(CHANGED_S):
        while True:
            workers = (await one.admin.get("/v1/workers")).json()["workers"]
            found = {worker["version"]: worker["instance"] for worker in workers if worker["state"] == "serving"}
            if found.keys() >= set(versions):
                return found
            await anyio.sleep(0.1)


def pinned_version(one: Ground) -> str:
    version: str = json.loads((one.state_dir / "workers.json").read_text())["servers"]["products"]["version"]
    return version


async def test_a_deployed_version_takes_over_under_load_and_the_old_one_and_its_server_are_stopped(
    tmp_path: Path,
) -> None:
    async with ground(tmp_path, products=at_url(tmp_path, version="1.0.0")) as one, anyio.create_task_group() as load:
        load.start_soon(one.ask_until_cancelled, "products")
        old = {one.system.pids[name] for name in ("worker-products-1", "server-products")}
        options = ("--steps", "50,100", "--step-s", "2", "--min-requests", "1", "--max-p95-ratio", "1000")
        async with deploying(one, *options, **at_url(tmp_path, version="1.1.0")) as deploy:
            status = await deploy.wait(timeout_s=DEPLOY_S)
            assert status == 0, deploy.stdout() + deploy.stderr()
            assert "products 1.0.0 → 1.1.0 completed" in deploy.stdout()
        with anyio.fail_after(CHANGED_S):
            while old & set(one.system.pids.values()):
                await anyio.sleep(0.05)
        assert (await one.ask("products")).json()["version"] == "1.1.0"
        assert pinned_version(one) == "1.1.0"
        targets = (one.state_dir / "prometheus-targets.json").read_text()
        assert '"version": "1.1.0"' in targets
        assert '"version": "1.0.0"' not in targets
        load.cancel_scope.cancel()
    assert set(one.told) == {200}


async def test_a_version_that_is_rolled_back_is_stopped_and_the_deploy_fails_with_the_reason(tmp_path: Path) -> None:
    async with ground(tmp_path, products=at_url(tmp_path, version="1.0.0")) as one:
        async with deploying(one, "--step-s", "600", **at_url(tmp_path, version="1.1.0")) as deploy:
            with anyio.fail_after(DEPLOY_S):
                while "running" not in deploy.stdout():
                    assert deploy.returncode is None, deploy.stderr()
                    await anyio.sleep(0.1)
            stop = StopVersion(server="products", version="1.1.0")
            answer = await anyio.to_thread.run_sync(order_supervisor, one.state["nats"], stop)
            assert StopAnswer.model_validate_json(answer).outcome == "under_way"
            assert "worker-products-2" in one.system.pids
            await cli(one, "rollout", "rollback", "products")
            assert await deploy.wait(timeout_s=CHANGED_S) == 1
            assert "products 1.0.0 → 1.1.0: rolled back" in deploy.stderr()
        await one.wait_gone("worker-products-2", "server-products-2")
        assert {"worker-products-1", "server-products"} <= one.system.pids.keys()
        assert pinned_version(one) == "1.0.0"
        assert (await one.ask("products")).json()["version"] == "1.0.0"
        listed = json.loads(await cli(one, "rollout", "list", "--json"))["rollouts"]
        assert [rollout["state"] for rollout in listed] == ["rolled_back"]


async def test_a_version_that_crashes_at_its_start_is_stopped_and_gets_no_query(tmp_path: Path) -> None:
    async with ground(tmp_path, products=at_url(tmp_path, version="1.0.0")) as one:
        broken = {"version": "1.1.0", "command": [sys.executable, "-c", "raise SystemExit(3)"]}
        async with deploying(one, "--ready-s", "3", **broken) as deploy:
            assert await deploy.wait(timeout_s=DEPLOY_S) == 1
            assert "0 of 1 workers of products 1.1.0 serve after 3 s" in deploy.stderr()
        await one.wait_gone("worker-products-2")
        assert (await one.ask("products")).json()["version"] == "1.0.0"


async def test_a_version_that_only_waits_gets_no_query_also_when_the_old_worker_starts_anew(tmp_path: Path) -> None:
    async with ground(tmp_path, products=at_url(tmp_path, version="1.0.0")) as one:
        next_file = one.config.with_name("next.yaml")
        next_file.write_text(json.dumps({"servers": {"products": at_url(tmp_path, version="1.1.0")}}))
        next_file.chmod(0o600)
        order = DeployServer(server="products", config_file=str(next_file))
        await anyio.to_thread.run_sync(order_supervisor, one.state["nats"], order)
        before = await serving(one, "1.0.0", "1.1.0")
        os.kill(one.system.pids["worker-products-1"], signal.SIGKILL)
        with anyio.fail_after(CHANGED_S):
            while (await serving(one, "1.0.0", "1.1.0"))["1.0.0"] == before["1.0.0"]:
                await anyio.sleep(0.1)
        assert {(await one.ask("products")).json()["version"] for _ in range(20)} == {"1.0.0"}


async def test_a_deploy_that_cannot_begin_says_why_and_starts_nothing(tmp_path: Path) -> None:
    first = at_url(tmp_path, version="1.0.0")
    async with ground(tmp_path, products=first) as one:
        for server, why in (
            (first, "1.0.0 is in force already; raise it"),
            ({**first, "version": "1.1.0"}, "the version in force listens there"),
            ({**first, "version": "1.1.0", "timeout_s": -1}, "servers.products.timeout_s"),
        ):
            async with deploying(one, **server) as deploy:
                assert await deploy.wait(timeout_s=CHANGED_S) == 1
                assert why in deploy.stderr()
                assert len(deploy.stderr().splitlines()) == 1
        assert "worker-products-2" not in one.system.pids


async def test_a_ctrl_c_leaves_the_rollout_running_and_says_so(tmp_path: Path) -> None:
    async with ground(tmp_path, products=at_url(tmp_path, version="1.0.0")) as one:
        async with deploying(one, "--step-s", "600", **at_url(tmp_path, version="1.1.0")) as deploy:
            with anyio.fail_after(DEPLOY_S):
                while "running" not in deploy.stdout():
                    assert deploy.returncode is None, deploy.stderr()
                    await anyio.sleep(0.1)
            deploy.signal(signal.SIGINT)
            await deploy.wait(timeout_s=CHANGED_S)
            assert "goes on" in deploy.stderr()
        await cli(one, "rollout", "promote", "products")
        await one.wait_gone("worker-products-1", "server-products")
        with anyio.fail_after(CHANGED_S):
            while pinned_version(one) != "1.1.0":
                await anyio.sleep(0.05)
