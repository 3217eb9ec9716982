"""What health tells while things break and come back: never `connected` without a working session, soon and by all.

The goal is that what is back shows within 3 s; the tests wait five times as long, for the machine that they run on.
Every wait is for two health services at once: they tell the same.
"""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
import pytest

from tests.support.fleet import Fleet, fleet, python_server
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
RAW_STDIO = "tests.support.mcp_servers.raw_stdio"
SDK_SERVER = "tests.support.mcp_servers.sdk_server"


@asynccontextmanager
async def told(config: Mapping[str, Any], **options: Any) -> AsyncIterator[tuple[Fleet, HealthReplicas]]:
    """A fleet whose every server is connected, and two health services that say so."""
    async with fleet(config, orchestrators=0, **options) as running, health_replicas(running) as health:
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
    """Seen to fail with a worker that never probes."""
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
    """Seen to fail with a service that only looks at its connection."""
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


def server_of(running: Fleet) -> psutil.Process | None:
    """Return the process of the server behind the one worker, while there is one."""
    for process in psutil.Process(running.workers[0].process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if process.cmdline()[1:] == ["-m", RAW_STDIO]:
                return process
    return None


def report(what: str, seconds: float) -> None:
    """Print how long it took, for whoever runs this with `-s`."""
    print(f"{what}: {seconds:.2f} s")  # noqa: T201
