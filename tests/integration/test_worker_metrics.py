"""What a worker shows of its load and of the clocks of those who call it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus_schemas import subjects
from bus_schemas.calls import CallHeaders
from tests.support.fleet import Fleet, fleet, ledger_server, record
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio


async def metrics(port: int) -> dict[str, float]:
    """The worker's own metrics, by the rest of their names."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {sample.name.removeprefix("mcp_worker_"): sample.value for sample in samples if "mcp_worker" in sample.name}


async def reaches(port: int, **expected: float) -> None:
    """Return when the metrics are as expected."""
    with anyio.fail_after(10):
        while {name: (await metrics(port))[name] for name in expected} != expected:
            await anyio.sleep(0.02)


async def call_by_a_clock_that_is(running: Fleet, ahead_s: float) -> None:
    headers = CallHeaders("skewed", 5000, int((time.time() + ahead_s) * 1000), attempt=1, principal="p")
    client = await running.bus()
    body = b'{"method":"tools/call","params":{"name":"record","arguments":{"id":"skewed"}}}'
    await client.request(subjects.call("ledger", "0.0.0"), body, headers=headers.encode(), timeout=5)


async def test_slots_line_and_clocks_are_shown(tmp_path: Path) -> None:
    port = free_port()
    config: dict[str, Any] = {"ledger": ledger_server(tmp_path / "ledger", max_in_flight=2)}
    async with fleet(config, env={"BUSBAR_METRICS_PORT": str(port)}) as running:
        await reaches(port, slots=2, slots_in_use=0, queue_length=0, in_flight=0)
        asking = [asyncio.create_task(running.ask_http(record("ledger", ms=1000))) for _ in range(5)]
        await reaches(port, slots=2, slots_in_use=2, queue_length=3, in_flight=5)
        await asyncio.gather(*asking)
        shown = await metrics(port)
        assert shown["undelivered_bytes"] > 0  # they may still come back
        assert shown["clock_offset_seconds"] < 5
        await call_by_a_clock_that_is(running, 25)
        assert 20 < (await metrics(port))["clock_offset_seconds"] < 30
        await reaches(port, slots_in_use=0, queue_length=0, in_flight=0, undelivered_bytes=0)


async def test_a_worker_whose_results_are_not_delivered_yet_refuses_more(tmp_path: Path) -> None:
    config = {"ledger": ledger_server(tmp_path / "ledger")}
    async with fleet(config, env={"BUSBAR_MAX_UNDELIVERED_BYTES": "1"}) as running:
        with anyio.fail_after(20):
            while (refused := await running.ask_http(record("ledger"))).status == 200:
                pass  # it is only for a second that a result may come back
            assert (refused.json["code"], refused.json["executed"]) == ("overloaded", "no")
            while (await running.ask_http(record("ledger"))).status != 200:
                await anyio.sleep(0.05)
