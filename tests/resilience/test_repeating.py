"""A worker that is killed with calls in its hands: those that may be run again are, the others never."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.fleet import fleet, ledger_server
from tests.support.records import read_ledger
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

CALLS = 12


def query(tool: str, number: int) -> dict[str, Any]:
    arguments = {"id": f"{tool}-{number}", "ms": 1000}
    return {"server": "ledger", "tool": tool, "arguments": arguments, "timeout_ms": 20_000}


async def test_of_a_killed_workers_calls_the_idempotent_ones_are_answered_by_the_other(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    config = {"ledger": ledger_server(ledger, tools={"record_idempotent": {"idempotent": True}})}
    async with fleet(config, workers={"ledger": 2}) as running:
        tools = ("record", "record_idempotent")
        queries = [query(tool, number) for tool in tools for number in range(CALLS)]
        asking = [asyncio.create_task(running.ask_http(one)) for one in queries]
        await until(lambda: len([line for line in read_ledger(ledger) if line.event == "start"]) == len(queries))
        killed = running.workers.pop(0)
        await killed.process.kill()
        with anyio.fail_after(20):
            answers = await asyncio.gather(*asking)
        metrics = (await running.get("/metrics")).body.decode()

    once, repeated = answers[:CALLS], answers[CALLS:]
    assert [answer.status for answer in repeated] == [200] * CALLS
    lost = [answer for answer in once if answer.status != 200]
    assert {(answer.json["code"], answer.json["executed"], answer.json["retryable"]) for answer in lost} == {
        ("upstream_error", "maybe", False)
    }
    again = [answer for answer in repeated if answer.json["attempts"] == 2]
    starts = Counter(line.id for line in read_ledger(ledger) if line.event == "start")
    assert {starts[one["arguments"]["id"]] for one in queries[:CALLS]} == {1}
    assert sum(starts.values()) == len(queries) + len(again)
    assert again
    assert f'mcp_retries_total{{reason="upstream_error"}} {float(len(again))}' in metrics
