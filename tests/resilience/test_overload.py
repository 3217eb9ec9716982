"""More than there is room for: as much as fits is answered, the rest is refused at once, and nobody else notices."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.support.account import Account, percentile, read_account
from tests.support.fleet import Answered, Fleet, fleet, ledger_server, record
from tests.support.load_process import load_process
from tests.support.processes import rss_bytes
from tests.support.records import Told, read_record
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SLOTS = 3
CALL_MS = 100
OFFERED_PER_S = 300
DURATION_S = 5
TIMEOUT_MS = 2000


async def loaded(running: Fleet, ledger: Path, name: str, *, rate: float | None, concurrency: int | None) -> Account:
    """The account of five seconds of load."""
    told = ledger.with_name(name)
    async with load_process(
        told,
        server="ledger",
        urls=running.urls,
        rate=rate,
        concurrency=concurrency,
        duration_s=DURATION_S,
        ms=CALL_MS,
        timeout_ms=TIMEOUT_MS,
    ) as load:
        await load.finished()
    return read_account(ledger, told, TIMEOUT_MS / 1000)


async def test_ten_times_what_fits_costs_little_of_what_fits(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    ledger = tmp_path / "ledger"
    async with fleet({"ledger": ledger_server(ledger, max_in_flight=SLOTS)}, orchestrators=2) as running:
        capacity = await loaded(running, ledger, "capacity", rate=None, concurrency=SLOTS)
        pids = [one.process.pid for one in running.orchestrators] + [one.process.pid for one in running.workers]
        await loaded(running, ledger, "warm-up", rate=OFFERED_PER_S, concurrency=None)
        before = [rss_bytes(pid) for pid in pids]

        overloaded = await loaded(running, ledger, "overloaded", rate=OFFERED_PER_S, concurrency=None)

        grown = [rss_bytes(pid) - size for pid, size in zip(pids, before, strict=True)]
    lines = list(read_record(tmp_path / "overloaded"))
    until_s = min(line.at for line in lines) + DURATION_S
    told = [line for line in lines if isinstance(line, Told)]
    in_time = sum(line.status == 200 and line.at <= until_s for line in told)  # without those that came after the load
    refusals_ms = sorted(line.ms for line in told if line.code)
    record_property("answered of capacity", f"{in_time} of {capacity.answered}")
    record_property("p99 of refusals, ms", percentile(refusals_ms, 99))
    record_property("grown, bytes", grown)
    assert not overloaded.lost
    assert not overloaded.repeated
    assert not overloaded.ran_after_no
    # A machine that stands still for a moment makes some late that were let in.
    assert overloaded.refused["overloaded"] >= 0.98 * (overloaded.sent - overloaded.answered)
    assert in_time >= 0.8 * capacity.answered
    assert max(grown) < 20_000_000


async def test_a_slow_server_with_all_its_callers_keeps_no_other_callers_out(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    config = {
        "slow": ledger_server(ledger, max_in_flight=64, tools={"record_idempotent": {"cache_ttl_s": 60}}),
        "quick": ledger_server(ledger),
    }
    async with fleet(config, env={"BUSBAR_MAX_IN_FLIGHT": "20"}) as running:
        answers: list[Answered] = []

        async def ask_slow() -> None:
            # All wait for one call, and each counts.
            query = {"server": "slow", "tool": "record_idempotent", "arguments": {"id": "same", "ms": 3000}}
            answers.append(await running.ask_http(query))

        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(ask_slow)
            await until(lambda: len(answers) == 20)
            for answer in answers:
                assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "overloaded", "1")
            for edge in ("http", "bus"):
                assert (await running.asking(edge)(record("quick"))).status == 200
        assert [answer.status for answer in answers].count(200) == 10


@pytest.mark.parametrize("edge", ["http", "bus"])
async def test_beyond_its_bound_a_process_refuses_before_it_reads(tmp_path: Path, edge: str) -> None:
    ledger = tmp_path / "ledger"
    config = {"a": ledger_server(ledger), "b": ledger_server(ledger)}
    async with fleet(config, env={"BUSBAR_MAX_IN_FLIGHT": "2"}) as running:
        held = [asyncio.create_task(running.ask_http(record(server, ms=1500))) for server in ("a", "b")]
        await until(lambda: ledger.exists() and ledger.read_bytes().count(b'"start"') == 2)
        refused = await running.asking(edge)(b"this is no JSON")
        assert (refused.status, refused.json["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
        assert [answer.status for answer in await asyncio.gather(*held)] == [200, 200]
        assert (await running.asking(edge)(b"this is no JSON")).status == 400
