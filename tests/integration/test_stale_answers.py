"""Answers of a server that fails, is gone, or that a caller may not use any more."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from services.runtime.auth.keys import revoke_key
from tests.support.fleet import Answered, Fleet, fleet, python_server
from tests.support.records import read_ledger
from tests.support.servers import ValkeyServer

pytestmark = pytest.mark.anyio

CLOCK = "tests.support.mcp_servers.clock"
KEPT = {"cache_scope": "public", "cache_ttl_s": 1, "stale_if_error_s": 60}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.fixture
async def running(ledger: Path, valkey: ValkeyServer) -> AsyncIterator[Fleet]:
    clock = [CLOCK, "--ledger", str(ledger)]
    config = {
        "stale": python_server(*clock, tools={"now": KEPT}),
        "strict": python_server(*clock, tools={"now": {**KEPT, "stale_if_error_s": 0}}),
        "fresh": python_server(*clock, tools={"now": {**KEPT, "cache_ttl_s": 60, "stale_if_error_s": 0}}),
    }
    async with fleet(config, keys={"guest": {"servers": ["fresh"]}}, store=valkey) as running:
        yield running


async def ask(running: Fleet, server: str, *, key: str = "fleet", **fields: Any) -> Answered:
    return await running.ask_http({"server": server, "tool": "now", "arguments": {"key": server}, **fields}, key=key)


async def kill_worker(running: Fleet, server: str) -> None:
    """End its worker; return when the orchestrator knows."""
    (worker,) = [worker for worker in running.workers if worker.server == server]
    await worker.process.terminate()
    with anyio.fail_after(10):
        while (await ask(running, server, cache="bypass")).status == 200:
            await anyio.sleep(0.02)


async def test_an_old_answer_stands_in_for_a_server_that_is_gone(running: Fleet) -> None:
    first = await ask(running, "stale")
    await kill_worker(running, "stale")
    with anyio.fail_after(10):
        while (told := await ask(running, "stale")).json.get("cache") == "hit":  # it is fresh for a second
            await anyio.sleep(0.05)
    assert (told.status, told.json["cache"], told.json["server"]) == (200, "stale", "stale")
    assert told.raw_result == first.raw_result
    assert (await ask(running, "stale", cache="refresh")).status == 503


async def test_it_does_not_where_the_operator_has_not_said_so(running: Fleet) -> None:
    assert (await ask(running, "strict")).status == 200
    await kill_worker(running, "strict")
    with anyio.fail_after(10):
        while (told := await ask(running, "strict")).status == 200:
            assert told.json["cache"] == "hit"
            await anyio.sleep(0.05)
    assert told.json["code"] == "server_unavailable"


async def test_a_fresh_answer_needs_no_server(running: Fleet, ledger: Path) -> None:
    assert (await ask(running, "fresh")).json["cache"] == "miss"
    await kill_worker(running, "fresh")
    told = await ask(running, "fresh")
    assert (told.status, told.json["cache"], told.json["attempts"]) == (200, "hit", 0)
    assert sum(line.id == "fresh" for line in read_ledger(ledger)) >= 1


async def test_an_old_answer_stands_in_at_the_deadline_of_a_slow_server(running: Fleet) -> None:
    query = {"server": "stale", "tool": "now", "arguments": {"key": "slow", "ms": 1500}}
    assert (await running.ask_http(query)).status == 200
    with anyio.fail_after(10):
        while (told := await running.ask_http({**query, "timeout_ms": 300})).json["cache"] == "hit":
            await anyio.sleep(0.05)
    assert (told.status, told.json["cache"]) == (200, "stale")


async def test_an_error_of_the_server_is_told_although_there_is_an_old_answer(running: Fleet) -> None:
    query = {"server": "stale", "tool": "now", "arguments": {"key": "refused", "fail": "from the second on"}}
    assert (await running.ask_http(query)).status == 200
    with anyio.fail_after(10):
        while (told := await running.ask_http(query)).json.get("cache") == "hit":
            await anyio.sleep(0.05)
    assert (told.status, told.json["code"]) == (502, "upstream_refused")


async def test_a_right_that_was_withdrawn_ends_hits(running: Fleet) -> None:
    assert (await ask(running, "fresh")).json["cache"] == "miss"
    assert (await ask(running, "fresh", key="guest")).json["cache"] == "hit"
    assert (await ask(running, "stale", key="guest")).json["code"] == "forbidden"
    revoke_key(Path(running.env["BUSBAR_KEYS_FILE"]), "guest")
    with anyio.fail_after(15):  # in force within five seconds
        while (told := await ask(running, "fresh", key="guest")).status == 200:
            assert told.json["cache"] == "hit"
            await anyio.sleep(0.05)
    assert told.json["code"] == "unauthorized"
    assert json.loads(told.body)["executed"] == "no"
