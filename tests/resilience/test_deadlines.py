"""The answer comes at the deadline, whatever stands still, and what is late is never begun."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.fleet import Answered, Fleet, fleet, ledger_server, record
from tests.support.records import read_ledger
from tests.support.servers import NatsServer, nats_server

pytestmark = pytest.mark.anyio

TIMEOUT_MS = 700
PATIENCE_S = 5
"""Far less than what stands still would stand still for."""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
async def bus() -> AsyncIterator[NatsServer]:
    async with nats_server() as server:
        yield server


@pytest.fixture
async def running(ledger: Path, bus: NatsServer) -> AsyncIterator[Fleet]:
    tools = {"record_idempotent": {"idempotent": True, "cache_ttl_s": 60}}
    config = {"ledger": ledger_server(ledger, max_in_flight=1, tools=tools)}
    async with fleet(config, bus=bus) as running:
        yield running


def pausing(running: Fleet, bus: NatsServer, what: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """How `what` is made to stand still, and to go on."""
    if what == "bus":
        return bus.pause, bus.resume
    worker = running.workers[0].process
    return worker.pause, worker.resume


@pytest.mark.parametrize("what", ["worker", "bus"])
async def test_who_asks_something_that_stands_still_is_answered_at_the_deadline_and_nothing_begins_after_it(
    running: Fleet, bus: NatsServer, ledger: Path, what: str
) -> None:
    for _ in range(3):
        assert (await running.ask_http(record("ledger"))).status == 200  # the clocks know each other
    late = [{**record("ledger"), "timeout_ms": TIMEOUT_MS} for _ in range(5)]
    pause, resume = pausing(running, bus, what)
    pause()
    try:
        with anyio.fail_after(PATIENCE_S):
            answers = await asyncio.gather(*map(running.ask_http, late))
    finally:
        resume()
    assert {(answer.status, answer.json["code"]) for answer in answers} == {(504, "timeout")}
    with anyio.fail_after(20):
        while (await running.ask_http(record("ledger"))).status != 200:
            await anyio.sleep(0.05)
    begun = {line.id for line in read_ledger(ledger)}
    assert not begun & {query["arguments"]["id"] for query in late}


async def test_what_a_frozen_bus_held_back_of_callers_on_it_is_answered_and_not_begun(
    running: Fleet, bus: NatsServer, ledger: Path
) -> None:
    for _ in range(3):
        assert (await running.ask_bus(record("ledger"), headers=sent_now())).status == 200
    late = [{**record("ledger"), "timeout_ms": TIMEOUT_MS} for _ in range(5)]
    bus.pause()
    try:
        asking = [asyncio.create_task(running.ask_bus(query, headers=sent_now())) for query in late]
        await anyio.sleep(2 * TIMEOUT_MS / 1000)
    finally:
        bus.resume()
    with anyio.fail_after(20):
        answers = await asyncio.gather(*asking)
    assert {(answer.status, answer.json["code"], answer.json["executed"]) for answer in answers} == {
        (504, "timeout", "no")
    }
    assert (await running.ask_bus(record("ledger"), headers=sent_now())).status == 200
    begun = {line.id for line in read_ledger(ledger)}
    assert not begun & {query["arguments"]["id"] for query in late}


def sent_now() -> dict[str, str]:
    return {"mcp-sent-at": str(time.time_ns() // 1_000_000)}


def assert_accounts_for_the_time(answer: Answered) -> dict[str, Any]:
    timing: dict[str, Any] = answer.json["timing_ms"]
    assert timing["total"] >= timing["upstream"] + timing["queue"]
    return timing


async def test_an_answer_says_where_its_time_went(running: Fleet) -> None:
    answers = await asyncio.gather(*(running.ask_http(record("ledger", ms=300)) for _ in range(2)))
    first, second = sorted(map(assert_accounts_for_the_time, answers), key=lambda timing: float(timing["queue"]))
    assert min(first["upstream"], second["upstream"]) >= 300
    assert first["queue"] < second["queue"]
    assert second["queue"] >= 250


async def test_who_joins_anothers_call_claims_none_of_its_time(running: Fleet) -> None:
    query = {"server": "ledger", "tool": "record_idempotent", "arguments": {"id": "same", "ms": 500}}
    answers = await asyncio.gather(*(running.ask_http(query) for _ in range(3)))
    for answer in answers:
        assert_accounts_for_the_time(answer)
    assert sorted(answer.json["cache"] for answer in answers) == ["coalesced", "coalesced", "miss"]
    assert sorted(answer.json["timing_ms"]["upstream"] >= 500 for answer in answers) == [False, False, True]
