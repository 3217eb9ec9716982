"""What health tells while things break and come back: never `connected` without a working session, soon and by all.

The goal is that what is back shows within 3 s; the tests wait five times as long, for the machine that they run on.
Every wait is for two health services at once: they tell the same.
"""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from tests.support.fleet import Fleet, fleet, ledger_server, python_server, record
from tests.support.gate import gate
from tests.support.health import HealthReplicas, health_replicas
from tests.support.ports import free_port
from tests.support.processes import python_process
from tests.support.servers import nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

BACK_WITHIN_S = 15.0
GONE_WITHIN_S = 40.0
"""Three heartbeats of a worker or of the bus; a probe of a server takes up to 7 s more."""
FAILURES = 5
"""As many in a row open a breaker."""
RAW_STDIO = "tests.support.mcp_servers.raw_stdio"
LEDGER_SERVER = "tests.support.ledger_server"
SDK_SERVER = "tests.support.mcp_servers.sdk_server"


@asynccontextmanager
async def told(
    config: Mapping[str, Any], *, orchestrators: int = 0, **options: Any
) -> AsyncIterator[tuple[Fleet, HealthReplicas]]:
    """A fleet whose every server is connected, and two health services that say so."""
    async with fleet(config, orchestrators=orchestrators, **options) as running, health_replicas(running) as health:
        await health.until(within_s=GONE_WITHIN_S, **dict.fromkeys(config, "connected"))
        yield running, health


async def test_a_worker_that_is_frozen_or_killed_is_no_live_worker_and_connected_when_it_is_back() -> None:
    """Seen to fail with a table that forgets nobody."""
    async with told({"a": python_server(RAW_STDIO)}) as (running, health):
        worker = running.workers[0].process
        worker.pause()
        report("worker frozen", await health.until(within_s=GONE_WITHIN_S, a="No live worker"))
        worker.resume()
        report("worker back", await health.until(within_s=BACK_WITHIN_S, a="connected"))

        await worker.kill()
        report("worker killed", await health.until(within_s=GONE_WITHIN_S, a="No live worker"))
        await running.start_worker("a")
        report("another worker", await health.until(within_s=BACK_WITHIN_S + 10, a="connected"))


async def test_a_process_of_ours_that_is_frozen_does_not_respond_and_one_that_is_killed_is_soon_back() -> None:
    async with told({"a": python_server(RAW_STDIO)}) as (running, health):
        server = server_of(running)
        assert server is not None
        server.suspend()
        report("server frozen", await health.until(within_s=GONE_WITHIN_S, a="Not responding"))
        server.resume()
        report("server thawed", await health.until(within_s=BACK_WITHIN_S, a="connected"))

        server.kill()
        await until(lambda: server_of(running) not in (None, server))
        report("server killed and started again", await health.until(within_s=BACK_WITHIN_S, a="connected"))


async def test_a_server_at_a_url_is_refused_when_it_is_killed_and_connected_when_it_listens_again() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    async with python_process(SDK_SERVER, "--port", str(port)) as server:
        async with told({"a": {"url": url}}) as (_, health):
            await server.kill()
            report("URL killed", await health.until(within_s=GONE_WITHIN_S, a="Connection refused"))
            async with python_process(SDK_SERVER, "--port", str(port)) as again:
                report("URL back, its start included", await health.until(within_s=BACK_WITHIN_S + 10, a="connected"))
                again.pause()
                report("URL frozen", await health.until(within_s=GONE_WITHIN_S, a="Not responding"))
                again.resume()
                report("URL thawed", await health.until(within_s=BACK_WITHIN_S, a="connected"))


async def test_a_connection_that_is_half_open_is_found_out() -> None:
    """Seen to fail with a worker that never probes.

    The gate holds back, too, that the server closes its idle connections: that would be told, as a protocol error.
    """
    port = free_port()
    async with (
        python_process(SDK_SERVER, "--port", str(port)),
        gate(port) as network,
        told({"a": {"url": f"http://127.0.0.1:{network.port}/mcp"}}) as (_, health),
    ):
        network.shut()
        report("network to the server gone", await health.until(within_s=GONE_WITHIN_S, a="Not responding"))
        network.open()
        report("network to the server back", await health.until(within_s=BACK_WITHIN_S, a="connected"))


async def test_a_worker_that_the_bus_does_not_hear_is_none_although_its_session_works() -> None:
    async with (
        nats_server() as bus,
        gate(bus.port) as network,
        fleet({"a": python_server(RAW_STDIO)}, orchestrators=0, workers={}, bus=bus) as running,
        health_replicas(running) as health,
    ):
        await running.start_worker("a", env={"BUSBAR_NATS_URL": bus.url.replace(str(bus.port), str(network.port))})
        await health.until(within_s=GONE_WITHIN_S, a="connected")
        network.shut()
        report("worker's network gone", await health.until(within_s=GONE_WITHIN_S, a="No live worker"))
        network.open()
        report("worker's network back", await health.until(within_s=BACK_WITHIN_S, a="connected"))


async def test_a_bus_that_is_frozen_or_killed_is_unreachable_and_all_is_well_when_it_is_back() -> None:
    """Seen to fail with a service that does not look at its bus.

    One that only looks at its connection tells it, too, some seconds later: the connection finds out that it is deaf.
    """
    async with told({"a": python_server(RAW_STDIO)}) as (running, health):
        running.nats.pause()
        report("bus frozen", await health.until(within_s=GONE_WITHIN_S, a="Bus unreachable"))
        assert [status for status, _ in await health.reports()] == [503, 503]
        running.nats.resume()
        report("bus thawed", await health.until(within_s=BACK_WITHIN_S, a="connected"))

        await running.nats.kill()
        report("bus killed", await health.until(within_s=GONE_WITHIN_S, a="Bus unreachable"))
        await running.nats.start()
        report("bus back", await health.until(within_s=BACK_WITHIN_S, a="connected"))


async def test_a_health_service_that_was_frozen_tells_the_same_as_the_other_when_it_goes_on() -> None:
    async with told({"a": python_server(RAW_STDIO), "b": python_server(RAW_STDIO)}) as (running, health):
        frozen = health.processes[0]
        frozen.pause()
        running.workers[0].process.signal(signal.SIGKILL)
        frozen.resume()
        report(
            "one health service thawed", await health.until(within_s=GONE_WITHIN_S, a="No live worker", b="connected")
        )


async def test_one_server_after_another_goes_and_comes_back_and_more_than_half_is_unhealthy() -> None:
    """Seen to fail with a share of at least a half."""
    names = ("a", "b", "c", "d")
    async with told(dict.fromkeys(names, python_server(RAW_STDIO))) as (running, health):
        overall = [await whole(health)]
        for name, worker in zip(names, running.workers, strict=True):
            await worker.process.kill()
            await health.until(within_s=GONE_WITHIN_S, **{name: "No live worker"})
            overall.append(await whole(health))
        for name in names:
            await running.start_worker(name)
            await health.until(within_s=BACK_WITHIN_S, **{name: "connected"})
            overall.append(await whole(health))
    falling = [(200, "healthy"), (200, "degraded"), (200, "degraded"), (503, "unhealthy"), (503, "unhealthy")]
    assert overall == falling + falling[-2::-1]


async def test_a_circuit_that_failures_opened_is_open_for_its_time_and_again_when_the_next_call_fails(
    tmp_path: Path,
) -> None:
    """Seen to fail without the circuits, and with one that is open until it is said that it is closed."""
    async with before_failures(tmp_path, open_s=6) as (running, health):
        await fail(running)
        report("circuit opened", await health.until(within_s=BACK_WITHIN_S, flaky="Circuit open", well="connected"))
        assert await whole(health) == (200, "degraded")
        refused = [await running.ask_http(record("flaky"), orchestrator=number) for number in (0, 1)]
        assert [answer.json["code"] for answer in refused] == ["circuit_open"] * 2

        report("circuit's time over", await health.until(within_s=BACK_WITHIN_S, flaky="connected", well="connected"))
        await fail(running, 1)
        report("circuit open again", await health.until(within_s=BACK_WITHIN_S, flaky="Circuit open", well="connected"))
        with anyio.fail_after(GONE_WITHIN_S):
            while (await running.ask_http(record("flaky"))).status != 200:
                await anyio.sleep(0.05)
        report("circuit closed", await health.until(within_s=BACK_WITHIN_S, flaky="connected", well="connected"))


async def test_a_circuit_that_is_open_is_told_by_a_health_service_that_was_not_there_and_ends_with_its_server(
    tmp_path: Path,
) -> None:
    """Seen to fail with a newcomer that does not ask, and with services that do not heed the server's return.

    Half an hour would pass before the breaker lets a call through by itself.
    """
    async with before_failures(tmp_path, open_s=1800) as (running, health):
        await fail(running)
        await health.until(within_s=BACK_WITHIN_S, flaky="Circuit open")
        async with health_replicas(running, 1) as newcomer:
            await newcomer.until(within_s=BACK_WITHIN_S, flaky="Circuit open", well="connected")
            server = server_of(running, LEDGER_SERVER)
            assert server is not None
            server.kill()
            await newcomer.until(within_s=BACK_WITHIN_S, flaky="connected")
        report("circuit ended", await health.until(within_s=BACK_WITHIN_S, flaky="connected"))
        assert (await running.ask_http(record("flaky"))).status == 200


@asynccontextmanager
async def before_failures(folder: Path, *, open_s: float) -> AsyncIterator[tuple[Fleet, HealthReplicas]]:
    """Two orchestrators before a server that may fail, and one that does not."""
    config = {
        "flaky": ledger_server(folder / "flaky.jsonl", timeout_s=0.5),
        "well": ledger_server(folder / "well.jsonl"),
    }
    async with told(config, orchestrators=2, env={"BUSBAR_BREAKER_OPEN_S": str(open_s)}) as both:
        yield both


async def fail(running: Fleet, calls: int = FAILURES) -> None:
    """Let so many calls take longer than the server may."""
    for _ in range(calls):
        assert (await running.ask_http(record("flaky", fail="hang"))).json["code"] == "timeout"


async def whole(health: HealthReplicas) -> tuple[int, str]:
    """Return the status of HTTP and the word on the whole, in which all health services agree."""
    [told_by_all] = {(status, told["status"]) for status, told in await health.reports()}
    return told_by_all


def server_of(running: Fleet, module: str = RAW_STDIO) -> psutil.Process | None:
    """Return the process of the server behind the first worker, while there is one."""
    for process in psutil.Process(running.workers[0].process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if process.cmdline()[1:3] == ["-m", module]:
                return process
    return None


def report(what: str, seconds: float) -> None:
    """Print how long it took, for whoever runs this with `-s`."""
    print(f"{what}: {seconds:.2f} s")  # noqa: T201
