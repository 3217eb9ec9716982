"""What goes wrong makes no new series: each had its zero at the first scrape, so that rates and ratios exist before."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import Fleet, fleet, ledger_server, record
from tests.support.health import health_replicas
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer

pytestmark = pytest.mark.anyio


async def test_no_failure_makes_a_series_that_was_not_there_before_the_first_query(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    """Seen to fail where the queries that wait for a server were counted from its first query on."""
    cached = {"record_idempotent": {"cache_ttl_s": 60, "idempotent": True}}
    config: dict[str, Any] = {
        "flaky": ledger_server(tmp_path / "ledger", timeout_s=0.5, tools=cached),
        "away": {"url": "http://127.0.0.1:1/mcp", "timeout_s": 0.5},
    }
    async with fleet(config, workers={}, store=valkey) as running, health_replicas(running, 1) as health:
        port = free_port()
        await running.start_worker("flaky", env={"BUSBAR_METRICS_PORT": str(port)})
        await running.wait_connected()
        await health.until(within_s=15, flaky="connected", away="No live worker")
        urls = [running.urls[0], f"http://127.0.0.1:{port}", *health.urls]
        before = [await series(url) for url in urls]
        codes = await let_everything_fail(running)
        after = [await series(url) for url in urls]
    assert codes == {
        None,
        "circuit_open",
        "invalid_arguments",
        "invalid_json",
        "server_not_found",
        "server_unavailable",
        "timeout",
        "tool_not_found",
        "upstream_error",
        "upstream_refused",
    }
    assert [later - sooner for sooner, later in zip(before, after, strict=True)] == [set()] * len(urls)


async def let_everything_fail(running: Fleet) -> set[str | None]:
    """Ask for all that can go wrong with one server, until its breaker is open; return the codes (None: an answer)."""
    queries: list[Any] = [
        record("flaky"),
        {**record("flaky", id="again"), "tool": "record_idempotent"},
        {**record("flaky", id="again"), "tool": "record_idempotent"},
        record("flaky", fail="error"),
        record("flaky", fail="jsonrpc"),
        record("flaky", ms="none"),
        {"server": "flaky", "tool": "nothing"},
        record("nobody"),
        record("away"),
        b"{",
    ]
    codes = {(await running.ask_http(query)).json.get("code") for query in queries}
    codes.add((await running.ask_http(record("flaky", fail="exit"))).json["code"])
    with anyio.fail_after(30):
        while "circuit_open" not in codes:
            codes.add((await running.ask_http(record("flaky", fail="hang"))).json["code"])
    return codes


async def series(url: str) -> set[str]:
    """Return the samples of a process, by name and labels."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{url}/metrics")).raise_for_status().text
    families = text_string_to_metric_families(text)
    return {f"{sample.name}{sorted(sample.labels.items())}" for family in families for sample in family.samples}
