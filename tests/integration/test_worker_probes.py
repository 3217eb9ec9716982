"""A worker's own HTTP port: where it is, and by which names it may be asked."""

import anyio
import httpx
import pytest

from tests.support.fleet import fleet
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio


async def test_the_option_goes_before_the_variable_and_prometheus_may_use_a_name_that_is_allowed() -> None:
    async with fleet({"gone": {"url": "http://127.0.0.1:1/mcp"}}, workers={}) as running:
        port, other = free_port(), free_port()
        variables = {"BUSBAR_METRICS_PORT": str(other), "BUSBAR_ALLOWED_HOSTS": "worker-a"}
        await running.start_process("services.worker", f"--metrics-port={port}", "gone", env=variables)
        async with httpx.AsyncClient(trust_env=False) as client:

            async def status(port: int, host: str) -> int | None:
                try:
                    return (await client.get(f"http://127.0.0.1:{port}/metrics", headers={"host": host})).status_code
                except httpx.ConnectError:
                    return None

            with anyio.fail_after(15):
                while await status(port, "worker-a:9000") != 200:
                    await anyio.sleep(0.05)
            assert await status(port, "worker-b:9000") == 421
            assert await status(other, "worker-a:9000") is None
