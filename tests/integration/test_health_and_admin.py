"""The health and admin services, before a real fleet."""

import signal
import time
from pathlib import Path

import anyio
import httpx
import pytest
import redis

from services.runtime.store.cache_keys import TALLIES, tally
from tests.support.fleet import OWN_KEY, Fleet, fleet, ledger_server
from tests.support.ports import free_port
from tests.support.processes import wait_ready
from tests.support.replica import replica
from tests.support.servers import valkey_server

pytestmark = pytest.mark.anyio

NEVER = {"url": "http://127.0.0.1:1/mcp"}
"""The configuration of a server that is not there."""


async def start(running: Fleet, service: str) -> str:
    """Start a service and return its URL."""
    port = free_port()
    process = await running.start_process(f"services.{service}", env={f"BUSBAR_{service.upper()}_PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    await wait_ready(process, f"{url}/readyz")
    return url


async def test_health_follows_the_workers_and_lists_a_server_that_never_came_up(tmp_path: Path) -> None:
    config = {"ledger": ledger_server(tmp_path / "ledger"), "never": NEVER}
    async with fleet(config, workers={"ledger": 1}) as running, httpx.AsyncClient(trust_env=False) as client:
        url = f"{await start(running, 'health')}/health/mcp"

        answer = await client.get(url)
        report = answer.json()
        assert (answer.status_code, report["status"]) == (200, "degraded")
        assert report["mcp_servers"]["ledger"].keys() == {"status", "latency_ms", "last_check"}
        assert report["mcp_servers"]["never"]["error"] == "No live worker"
        assert report["cache_stats"] == {"hit_rate": 0.0, "entries": 0}
        metrics = (await client.get(url.replace("/health/mcp", "/metrics"))).text.splitlines()
        assert {'mcp_server_connected{server="ledger"} 1.0', 'mcp_server_connected{server="never"} 0.0'} <= set(metrics)
        assert "mcp_servers_down_ratio 0.5" in metrics

        running.workers[0].process.signal(signal.SIGTERM)
        with anyio.fail_after(15):
            while (answer := await client.get(url)).status_code != 503:
                await anyio.sleep(0.05)
        assert answer.json()["status"] == "unhealthy"


async def test_health_tells_why_a_server_is_away(tmp_path: Path) -> None:
    async with fleet({"gone": {"url": "http://127.0.0.1:1/mcp"}}, workers={}) as running:
        await running.start_worker("gone")
        url = f"{await start(running, 'health')}/health/mcp"
        async with httpx.AsyncClient(trust_env=False) as client:
            with anyio.fail_after(15):
                while (await client.get(url)).json()["mcp_servers"]["gone"].get("error") != "Connection refused":
                    await anyio.sleep(0.05)


async def test_health_says_so_when_the_bus_is_gone(tmp_path: Path) -> None:
    async with fleet({"ledger": ledger_server(tmp_path / "ledger")}) as running:
        url = f"{await start(running, 'health')}/health/mcp"
        await running.nats.kill()
        async with httpx.AsyncClient(trust_env=False) as client:
            with anyio.fail_after(15):
                while (answer := await client.get(url)).status_code != 503:
                    await anyio.sleep(0.05)
        assert answer.json()["mcp_servers"]["ledger"]["error"] == "Bus unreachable"


async def test_health_answers_while_there_is_no_bus_and_finds_it_when_it_comes(tmp_path: Path) -> None:
    async with fleet({"ledger": ledger_server(tmp_path / "ledger"), "other": NEVER}, workers={}) as running:
        await running.nats.kill()
        port = free_port()
        process = await running.start_process("services.health", env={"BUSBAR_HEALTH_PORT": str(port)})
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            with anyio.fail_after(15):
                while not await answers(client, "/livez"):
                    await anyio.sleep(0.05)
            answer = await client.get("/health/mcp")
            assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
            assert [one["error"] for one in answer.json()["mcp_servers"].values()] == ["Bus unreachable"] * 2
            assert (await client.get("/readyz")).status_code == 503

            await running.nats.start()
            await running.start_worker("ledger")
            with anyio.fail_after(20):
                while (answer := await client.get("/health/mcp")).status_code != 200:
                    await anyio.sleep(0.05)
            assert answer.json()["mcp_servers"]["ledger"]["status"] == "connected"
            assert (await client.get("/readyz")).status_code == 200
        assert await process.terminate() == 0


async def test_health_may_be_stopped_while_there_is_no_bus(tmp_path: Path) -> None:
    async with fleet({"other": NEVER}, workers={}) as running:
        await running.nats.kill()
        port = free_port()
        process = await running.start_process("services.health", env={"BUSBAR_HEALTH_PORT": str(port)})
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            with anyio.fail_after(15):
                while not await answers(client, "/livez"):
                    await anyio.sleep(0.05)
        assert await process.terminate() == 0


async def answers(client: httpx.AsyncClient, path: str) -> bool:
    """Whether the path answers 200; False while nobody listens."""
    try:
        return (await client.get(path)).status_code == 200
    except httpx.TransportError:
        return False


async def test_health_tells_how_often_the_cache_helped_and_what_it_holds() -> None:
    name = tally("other", "read")
    async with (
        valkey_server() as store,
        fleet({"other": NEVER}, orchestrators=0, workers={}, env={"BUSBAR_REDIS_URL": store.url}) as running,
        replica(running.nats.url, "one", hits=2, misses=1),
        replica(running.nats.url, "two", hits=1),
        httpx.AsyncClient(trust_env=False) as client,
    ):
        with redis.Redis.from_url(store.url) as entries:
            entries.zadd(name, {"first": (time.time() + 600) * 1000, "second": (time.time() + 600) * 1000})
            entries.sadd(TALLIES, name)
        url = f"{await start(running, 'health')}/health/mcp"

        async def until_told(stats: dict[str, float]) -> None:
            with anyio.fail_after(15):
                while (await client.get(url)).json()["cache_stats"] != stats:
                    await anyio.sleep(0.05)

        await until_told({"hit_rate": 0.75, "entries": 2})
        store.pause()
        await until_told({"hit_rate": 0.75, "entries": 0})
        store.resume()
        await until_told({"hit_rate": 0.75, "entries": 2})


async def test_admin_lists_workers_for_an_admin_key_alone(tmp_path: Path) -> None:
    keys = {"boss": {"scopes": ["admin"]}}
    async with fleet({"ledger": ledger_server(tmp_path / "ledger")}, keys=keys) as running:
        url = f"{await start(running, 'admin')}/v1/workers"
        async with httpx.AsyncClient(trust_env=False) as client:
            statuses = [
                (await client.get(url, headers=headers)).status_code
                for headers in (
                    {},
                    {"authorization": "Bearer wrong"},
                    {"authorization": f"Bearer {running.keys[OWN_KEY]}"},
                )
            ]
            answer = await client.get(url, headers={"authorization": f"Bearer {running.keys['boss']}"})

    assert statuses == [401, 401, 403]
    (worker,) = answer.json()["workers"]
    assert worker.keys() == {"instance", "server", "version", "state", "in_flight", "started_at"}
    assert (worker["server"], worker["state"]) == ("ledger", "serving")
