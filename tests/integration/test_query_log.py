"""The query log of a real orchestrator: what its stdout says of queries, and what it never says."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet, fleet, ledger_server, record
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SECRET = "hunter2"
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def lines(running: Fleet, orchestrator: int = 0) -> list[dict[str, Any]]:
    """What that orchestrator has logged so far."""
    return [json.loads(line) for line in running.orchestrators[orchestrator].process.stdout().splitlines()]


async def test_a_line_for_every_query_when_all_are_asked_for(tmp_path: Path) -> None:
    config = {"ledger": ledger_server(tmp_path / "ledger", version="1.0.0")}
    async with fleet(config, keys={"reader": {}}, env={"BUSBAR_QUERY_LOG": "all"}) as running:
        sent = {
            "good": await running.ask_http(record("ledger", id=SECRET), key="reader", headers={"traceparent": SAMPLED}),
            "failed": await running.ask_http(record("ledger", fail="jsonrpc"), key="reader"),
            "tool_error": await running.ask_bus(record("ledger", fail="error"), key="reader"),
            "no_tool": await running.ask_http({"server": "ledger", "tool": SECRET}, key="reader"),
            "no_server": await running.ask_http({"server": SECRET, "tool": SECRET}, key="reader"),
            "no_key": await running.ask_http(record("ledger"), key=None),
        }
        await until(lambda: len(lines(running)) >= 6)
        by_id = {line["id"]: line for line in lines(running)}
        told = {name: by_id[answer.json["id"]] for name, answer in sent.items()}
        assert SECRET not in running.orchestrators[0].process.stdout()

    assert {name: line["code"] for name, line in told.items()} == {
        "good": "ok",
        "failed": "upstream_refused",
        "tool_error": "tool_error",
        "no_tool": "tool_not_found",
        "no_server": "server_not_found",
        "no_key": "unauthorized",
    }
    whom = {"key": "reader", "server": "ledger", "tool": "record", "cache": "off", "attempts": 1}
    assert told["good"].items() >= {**whom, "trace": SAMPLED[3:35]}.items()
    assert told["failed"].items() >= whom.items()
    assert told["tool_error"].items() >= whom.items()
    assert told["no_tool"].items() >= {"key": "reader", "server": "ledger", "attempts": 0}.items()
    assert told["no_server"].items() >= {"key": "reader", "server": "unknown"}.items()
    assert not told["no_key"].keys() & {"key", "server", "tool"}
    assert not (told["no_tool"].keys() | told["no_server"].keys()) & {"tool", "trace"}


async def test_failed_queries_alone_by_default_slow_ones_too_or_none_at_all(tmp_path: Path) -> None:
    async with fleet({"ledger": ledger_server(tmp_path / "ledger")}) as running:
        await running.start_orchestrators(env={"BUSBAR_QUERY_LOG": "slow", "BUSBAR_QUERY_LOG_SLOW_MS": "100"})
        await running.start_orchestrators(env={"BUSBAR_QUERY_LOG": "off"})
        await running.wait_connected()
        for orchestrator in range(3):
            for arguments in ({"ms": 0}, {"ms": 150}, {"fail": "jsonrpc"}):
                await running.ask_http(record("ledger", **arguments), orchestrator=orchestrator)
        for process in [one.process for one in running.orchestrators]:  # in the end all is written
            process.signal(signal.SIGTERM)
            assert await process.wait() == 0
        by_default, slow, off = (lines(running, number) for number in range(3))
    assert [line["code"] for line in by_default] == ["upstream_refused"]
    assert {line["code"] for line in slow} == {"ok", "upstream_refused"}
    assert all(line["ms"] >= 100 for line in slow if line["code"] == "ok")
    assert off == []


async def test_a_flood_of_refusals_does_not_flood_the_log(tmp_path: Path) -> None:
    async with fleet({"ledger": ledger_server(tmp_path / "ledger")}, keys={}) as running:
        for _ in range(200):
            assert (await running.ask_http(record("ledger"), key=None)).status == 401
        process = running.orchestrators[0].process
        process.signal(signal.SIGTERM)
        assert await process.wait() == 0
        written = lines(running)
        seconds = {line["at"][:19] for line in written}
        assert 0 < len(written) <= 20 * (len(seconds) + 1)
        assert len(written) + sum(line.get("skipped", 0) for line in written) <= 200
