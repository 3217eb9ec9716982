"""The path of a query, from a stranger's HTTP or NATS client to a real MCP server and back."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from nats.aio.msg import Msg
from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import Fleet, fleet, ledger_server, python_server, record
from tests.support.mcp_servers import verbatim
from tests.support.records import read_ledger
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

EDGES = ["http", "bus"]
VERBATIM = "tests.support.mcp_servers.verbatim"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("query-path") / "ledger.jsonl"


@pytest.fixture(scope="module")
async def running(ledger: Path) -> AsyncIterator[Fleet]:
    config = {
        "verbatim": python_server(VERBATIM, version="1.2.3", group="words"),
        "ledger": ledger_server(ledger, version="1.0.0"),
        "away": python_server(VERBATIM, alternates=["verbatim"]),
        "mate": python_server(VERBATIM, group="words", priority=1),
    }
    async with fleet(config, orchestrators=2, workers={"verbatim": 1, "ledger": 3}) as running:
        yield running


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    "target",
    [{"tool": verbatim.TOOL}, {"resource": verbatim.RESOURCE}, {"prompt": verbatim.PROMPT}],
    ids=["tool", "resource", "prompt"],
)
async def test_a_result_is_the_servers_own_byte_for_byte(running: Fleet, edge: str, target: dict[str, str]) -> None:
    answer = await running.asking(edge)({"server": "verbatim", **target})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.raw_result == verbatim.odd_result()
    told = answer.json
    assert (told["server"], told["version"], told["cache"], told["attempts"]) == ("verbatim", "1.2.3", "off", 1)
    assert set(told) == {"id", "server", "version", "instance", "cache", "attempts", "timing_ms", "result"}
    assert set(told["timing_ms"]) == {"total", "upstream", "queue"}
    assert 0 <= told["timing_ms"]["upstream"] <= told["timing_ms"]["total"]


@pytest.mark.parametrize("edge", EDGES)
async def test_a_server_that_is_left_out_is_the_one_that_offers_the_tool(running: Fleet, edge: str) -> None:
    answer = await running.asking(edge)(record(id=f"left-out-{edge}"))
    assert (answer.status, answer.json["server"]) == (200, "ledger")
    assert answer.json["result"]["structuredContent"]["id"] == f"left-out-{edge}"


@pytest.mark.parametrize("server", ["away", "mate"])
@pytest.mark.parametrize("edge", EDGES)
async def test_an_alternate_or_a_group_mate_answers_for_a_server_without_a_worker(
    running: Fleet, edge: str, server: str
) -> None:
    answer = await running.asking(edge)({"server": server, "tool": verbatim.TOOL})
    assert (answer.status, answer.json["server"], answer.json["version"]) == (200, "verbatim", "1.2.3")
    assert answer.raw_result == verbatim.odd_result()


async def test_a_tool_that_answers_is_error_is_a_successful_query(running: Fleet) -> None:
    answer = await running.ask_http(record("ledger", fail="error"))
    assert (answer.status, answer.json["result"]["isError"]) == (200, True)
    errors = await _metric(running, "mcp_query_errors_total", server="ledger", error_type="tool_error")
    assert sum(errors) == 1


async def test_when_the_caller_hangs_up_the_server_sees_the_cancellation(running: Fleet, ledger: Path) -> None:
    query = record("ledger", fail="hang")
    caller = asyncio.create_task(running.ask_http(query))
    await until(lambda: _events(ledger, query) == ["start"])
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    await until(lambda: _events(ledger, query) == ["start", "cancelled"])
    assert sum(await _metric(running, "mcp_query_errors_total", server="ledger", error_type="cancelled")) == 1


@pytest.mark.parametrize("edge", EDGES)
async def test_at_the_deadline_the_caller_is_answered_and_the_server_sees_the_cancellation(
    running: Fleet, ledger: Path, edge: str
) -> None:
    query = {**record("ledger", fail="hang"), "timeout_ms": 300}
    answer = await running.asking(edge)(query)
    assert (answer.status, answer.json["code"], answer.json["executed"]) == (504, "timeout", "maybe")
    await until(lambda: _events(ledger, query) == ["start", "cancelled"])


async def test_the_caller_is_answered_at_the_deadline_although_the_worker_hangs(running: Fleet) -> None:
    [worker] = [worker for worker in running.workers if worker.server == "verbatim"]
    worker.process.pause()
    try:
        with anyio.fail_after(5):
            answer = await running.ask_http({"server": "verbatim", "tool": verbatim.TOOL, "timeout_ms": 300})
    finally:
        worker.process.resume()
    assert (answer.status, answer.json["code"], answer.json["executed"]) == (504, "timeout", "maybe")


async def test_two_orchestrators_and_three_workers_share_the_load(running: Fleet, ledger: Path) -> None:
    await running.wait_connected()
    queries = [record("ledger", ms=5) for _ in range(240)]
    before = await _metric(running, "mcp_query_duration_seconds_count", server="ledger")
    at_once = asyncio.Semaphore(40)

    async def ask(query: dict[str, Any]) -> str:
        async with at_once:
            answer = await running.ask_bus(query)
        assert answer.status == 200, answer.body
        return str(answer.json["instance"])

    instances = Counter(await asyncio.gather(*map(ask, queries)))
    after = await _metric(running, "mcp_query_duration_seconds_count", server="ledger")
    asked = {query["arguments"]["id"] for query in queries}
    pids = Counter(line.pid for line in read_ledger(ledger) if line.id in asked and line.event == "end")
    orchestrators = [now - then for now, then in zip(after, before, strict=True)]
    assert sum(pids.values()) == sum(orchestrators) == len(queries)
    assert sorted(pids.values()) == sorted(instances.values())
    assert (len(pids), len(orchestrators)) == (3, 2)
    assert min(*pids.values(), *orchestrators) > 0.2 * len(queries)


async def test_discovery_answers_as_nats_micro_expects_with_true_counters(running: Fleet, ledger: Path) -> None:
    await running.wait_connected()
    [ping] = await _discover(running, "$SRV.PING.verbatim", answers=1)
    identity = {"name": "verbatim", "id": ping["id"], "version": "1.2.3"}
    assert ping == {"type": "io.nats.micro.v1.ping_response", **identity, "metadata": ping["metadata"]}
    assert all(isinstance(value, str) for value in ping["metadata"].values())

    [info] = await _discover(running, f"$SRV.INFO.verbatim.{ping['id']}", answers=1)
    endpoint = {"name": "call", "subject": "mcp.v1.call.verbatim.1_2_3", "queue_group": "verbatim.1_2_3"}
    assert info == {
        "type": "io.nats.micro.v1.info_response",
        **identity,
        "metadata": info["metadata"],
        "description": info["description"],
        "endpoints": [{**endpoint, "metadata": {}}],
    }

    [before] = await _discover(running, "$SRV.STATS.verbatim", answers=1)
    for _ in range(3):
        await running.ask_http({"server": "verbatim", "tool": verbatim.TOOL})
    [after] = await _discover(running, "$SRV.STATS.verbatim", answers=1)
    assert {key: after[key] for key in ("type", *identity)} == {"type": "io.nats.micro.v1.stats_response", **identity}
    assert datetime.fromisoformat(after["started"]).utcoffset() is not None
    [then], [now] = before["endpoints"], after["endpoints"]
    assert {key: now[key] for key in endpoint} == endpoint
    assert now["num_requests"] - then["num_requests"] == 3
    assert now["num_errors"] == then["num_errors"]
    assert now["processing_time"] > then["processing_time"]
    assert now["average_processing_time"] == now["processing_time"] // now["num_requests"]

    everybody = await _discover(running, "$SRV.PING", answers=4)
    assert Counter(answer["name"] for answer in everybody) == {"verbatim": 1, "ledger": 3}
    counted = [answer["endpoints"][0] for answer in await _discover(running, "$SRV.STATS.ledger", answers=3)]
    assert sum(one["num_requests"] for one in counted) == sum(line.event == "start" for line in read_ledger(ledger))


async def test_of_two_versions_the_first_has_all_traffic_and_the_other_takes_over_at_once() -> None:
    config = {"s": python_server(VERBATIM, "one", version="1.0.0")}
    async with fleet(config) as running:
        await running.start_worker("s", version="2.0.0", command=["python", "-m", VERBATIM, "two"])
        await running.wait_connected()
        query = {"server": "s", "tool": verbatim.TOOL}
        answers = [await running.ask_http(query) for _ in range(20)]
        assert {answer.raw_result for answer in answers} == {verbatim.odd_result("one")}
        # The table still shows the first: only "no responders" says that it has gone.
        await running.workers[0].process.kill()
        answer = await running.ask_http(query)
        assert (answer.status, answer.json["version"]) == (200, "2.0.0"), answer.body
        assert answer.raw_result == verbatim.odd_result("two")


def _events(ledger: Path, query: dict[str, Any]) -> list[str]:
    return [line.event for line in read_ledger(ledger) if line.id == query["arguments"]["id"]]


async def _metric(running: Fleet, name: str, **labels: str) -> list[float]:
    """The sample's value on each orchestrator."""
    values = []
    for index in range(len(running.orchestrators)):
        text = (await running.get("/metrics", orchestrator=index)).body.decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        values += [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return values


async def _discover(running: Fleet, subject: str, *, answers: int) -> list[dict[str, Any]]:
    """Ask as `nats micro` does: one empty request, any number of answers; fails if there are more than `answers`."""
    client = await running.bus()
    inbox = client.new_inbox()
    replies: list[Msg] = []

    async def take(message: Msg) -> None:
        replies.append(message)

    subscription = await client.subscribe(inbox, cb=take)
    try:
        await client.publish(subject, b"", reply=inbox)
        await until(lambda: len(replies) >= answers)
        await client.flush()
    finally:
        await subscription.unsubscribe()
    assert len(replies) == answers
    assert not any(reply.headers for reply in replies)
    return [json.loads(reply.data) for reply in replies]
