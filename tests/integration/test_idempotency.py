"""`Idempotency-Key` before a whole fleet: counted at the server, a key runs once, whatever dies meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.fleet import OWN_KEY, Answered, Fleet, fleet, ledger_server, record
from tests.support.records import read_ledger
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

EDGES = ("http", "bus")
HEADERS = {"http": "Idempotency-Key", "bus": "mcp-idempotency-key"}
_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idempotency") / "ledger.jsonl"


@pytest.fixture(scope="module")
async def store() -> AsyncIterator[ValkeyServer]:
    async with valkey_server() as server:
        yield server


@pytest.fixture(scope="module")
async def running(ledger: Path, store: ValkeyServer) -> AsyncIterator[Fleet]:
    keys: dict[str, dict[str, Any]] = {
        "other": {},
        "single": {"max_in_flight": 1},
        "rare": {"rate_per_s": 0.001},
        "fading": {"servers": ["ledger"]},
    }
    config = {"ledger": ledger_server(ledger), "mortal": ledger_server(ledger)}
    async with fleet(config, orchestrators=2, keys=keys, store=store) as running:
        yield running


def starts(ledger: Path, query: Mapping[str, Any]) -> int:
    """How often the server began to run the query."""
    call_id = query["arguments"]["id"]
    return sum((line.id, line.event) == (call_id, "start") for line in read_ledger(ledger))


async def ask(
    running: Fleet, query: Mapping[str, Any], key: str, *, edge: str = "http", caller: str = OWN_KEY, **options: Any
) -> Answered:
    """Ask with an idempotency key; again, as the answer allows, when the store is too slow on a busy machine."""
    with anyio.fail_after(_PATIENCE_S):
        while True:
            answer = await running.asking(edge)(query, key=caller, headers={HEADERS[edge]: key}, **options)
            if _code(answer) != "idempotency_unavailable":
                return answer
            assert (answer.json["retryable"], answer.json["executed"]) == (True, "no")
            await anyio.sleep(0.1)


def _code(answer: Answered) -> str | None:
    code: str | None = answer.json.get("code")
    return code


async def test_fifty_equal_queries_at_once_over_both_edges_of_two_replicas_run_once(
    running: Fleet, ledger: Path
) -> None:
    query = record("ledger", ms=300)
    over_http = [ask(running, query, "fifty", edge="http", orchestrator=number % 2) for number in range(34)]
    over_bus = [ask(running, query, "fifty", edge="bus") for _ in range(16)]
    answers = await asyncio.gather(*over_http, *over_bus)
    assert starts(ledger, query) == 1
    assert Counter(answer.status for answer in answers) == {200: 50}
    assert len({answer.body for answer in answers}) == 1
    assert Counter(answer.headers.get("idempotency-replayed") for answer in answers) == {None: 1, "true": 49}


async def test_a_key_counts_on_both_edges(running: Fleet, ledger: Path) -> None:
    query = record("ledger")
    over_http = await ask(running, query, "edges", edge="http")
    over_bus = await ask(running, query, "edges", edge="bus")
    assert over_bus.body == over_http.body
    assert over_bus.headers["idempotency-replayed"] == "true"
    assert starts(ledger, query) == 1


@pytest.mark.parametrize("edge", EDGES)
async def test_another_body_is_a_conflict_and_another_time_limit_is_not(
    running: Fleet, ledger: Path, edge: str
) -> None:
    query, other = record("ledger"), record("ledger")
    first = await ask(running, query, f"conflict-{edge}", edge=edge)
    conflict = await ask(running, other, f"conflict-{edge}", edge=edge)
    assert (conflict.status, _code(conflict)) == (422, "idempotency_conflict")
    assert (conflict.json["retryable"], conflict.json["executed"]) == (False, "no")
    again = await ask(running, {**query, "timeout_ms": 1234}, f"conflict-{edge}", edge=edge)
    assert again.body == first.body
    assert (starts(ledger, query), starts(ledger, other)) == (1, 0)


async def test_each_caller_has_keys_of_its_own(running: Fleet, ledger: Path) -> None:
    query = record("ledger")
    own, other = [await ask(running, query, "callers", caller=caller) for caller in (OWN_KEY, "other")]
    assert own.json["id"] != other.json["id"]
    assert starts(ledger, query) == 2


@pytest.mark.parametrize(
    ("edge", "key"), [("http", ""), *((edge, key) for edge in EDGES for key in ("x" * 256, "two words", "ü"))]
)
async def test_a_malformed_key_is_an_invalid_request(running: Fleet, edge: str, key: str) -> None:
    answer = await running.asking(edge)(record("ledger"), headers={HEADERS[edge]: key})
    assert (answer.status, _code(answer)) == (422, "invalid_request")
    assert answer.json["errors"] == [{"pointer": "/headers/idempotency-key", "keyword": "pattern"}]


@pytest.mark.parametrize("edge", EDGES)
async def test_an_error_that_may_have_run_is_told_again_and_one_that_did_not_is_not(
    running: Fleet, ledger: Path, edge: str
) -> None:
    failing = record("ledger", fail="jsonrpc")
    first, again = [await ask(running, failing, f"refused-{edge}", edge=edge) for _ in range(2)]
    assert (first.status, _code(first)) == (502, "upstream_refused")
    assert (again.status, again.body, again.headers["idempotency-replayed"]) == (502, first.body, "true")
    assert again.headers["content-type"] == "application/problem+json"
    assert starts(ledger, failing) == 1
    invalid = {"server": "ledger", "tool": "record", "arguments": {}}
    assert _code(await ask(running, invalid, f"invalid-{edge}", edge=edge)) == "invalid_arguments"
    assert (await ask(running, record("ledger"), f"invalid-{edge}", edge=edge)).status == 200


async def test_repetitions_take_nothing_of_a_callers_limits(running: Fleet, ledger: Path) -> None:
    query = record("ledger", ms=200)
    at_once = await asyncio.gather(*(ask(running, query, "single", caller="single") for _ in range(10)))
    assert {answer.status for answer in at_once} == {200}
    rare = record("ledger")
    one_by_one = [await ask(running, rare, "rare", caller="rare") for _ in range(5)]
    assert {answer.status for answer in one_by_one} == {200}
    assert _code(await ask(running, rare, "rare-2", caller="rare")) == "rate_limited"
    assert (starts(ledger, query), starts(ledger, rare)) == (1, 1)


async def test_metrics_count_repetitions_as_what_they_tell(running: Fleet) -> None:
    async def count() -> float:
        text = (await running.get("/metrics")).body.decode()
        name = 'mcp_query_errors_total{error_type="upstream_refused",server="ledger"}'
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)

    before, query = await count(), record("ledger", fail="jsonrpc")
    for _ in range(3):
        await ask(running, query, "metrics")
    assert await count() == before + 3


async def test_who_has_lost_the_right_is_not_told_the_outcome(running: Fleet, ledger: Path) -> None:
    query = record()
    first = await ask(running, query, "rights", caller="fading")
    assert first.json["server"] == "ledger"
    keys_file = running.folder / "keys.jsonl"
    keys_file.write_text(keys_file.read_text().replace('["ledger"]', '["mortal"]'))
    with anyio.fail_after(_PATIENCE_S):
        while (answer := await ask(running, query, "rights", caller="fading")).status == 200:
            assert answer.body == first.body
            await anyio.sleep(0.1)
    assert (answer.status, _code(answer)) == (403, "forbidden")
    assert starts(ledger, query) == 1


async def test_a_worker_killed_in_mid_call_gives_every_repetition_the_same_error(running: Fleet, ledger: Path) -> None:
    query = record("mortal", fail="hang")
    asking = asyncio.create_task(ask(running, query, "mortal"))
    waiting = asyncio.create_task(ask(running, query, "mortal", orchestrator=1))
    await until(lambda: starts(ledger, query))
    [mortal] = [worker for worker in running.workers if worker.server == "mortal"]
    await mortal.process.kill()
    answers = [await asking, await waiting, *[await ask(running, query, "mortal", edge=edge) for edge in EDGES]]
    assert {(answer.status, _code(answer), answer.body) for answer in answers} == {
        (502, "upstream_error", answers[0].body)
    }
    assert starts(ledger, query) == 1


@pytest.mark.parametrize("edge", EDGES)
async def test_a_caller_that_hangs_up_in_mid_call_leaves_an_unknown_outcome(
    running: Fleet, ledger: Path, edge: str
) -> None:
    query = record("ledger", fail="hang")
    first = asyncio.create_task(ask(running, query, f"hung-up-{edge}"))
    await until(lambda: starts(ledger, query))
    first.cancel()
    repeated = [await ask(running, query, f"hung-up-{edge}", edge=edge) for _ in range(2)]
    assert [(answer.status, _code(answer)) for answer in repeated] == [(502, "upstream_error")] * 2
    assert repeated[0].body == repeated[1].body
    assert repeated[0].json["executed"] == "maybe"
    assert starts(ledger, query) == 1


async def test_an_orchestrator_killed_in_mid_call_leaves_an_unknown_outcome(ledger: Path, store: ValkeyServer) -> None:
    async with fleet({"ledger": ledger_server(ledger)}, orchestrators=2, store=store) as running:
        query = {**record("ledger", fail="hang"), "timeout_ms": 2000}
        lost = asyncio.create_task(ask(running, query, "killed"))
        await until(lambda: starts(ledger, query))
        await running.orchestrators[0].process.kill()
        with pytest.raises(Exception, match="disconnected"):
            await lost
        at_once = await ask(running, {**query, "timeout_ms": 100}, "killed", orchestrator=1)
        assert (at_once.status, _code(at_once)) == (504, "timeout")
        patient = {**query, "timeout_ms": 30_000}
        repeated = [await ask(running, patient, "killed", orchestrator=1) for _ in range(3)]
        assert {(answer.status, _code(answer), answer.body) for answer in repeated} == {
            (502, "upstream_error", repeated[0].body)
        }
        assert starts(ledger, query) == 1


async def test_while_the_store_is_down_nothing_with_a_key_runs_and_everything_else_does(ledger: Path) -> None:
    keeping = valkey_server(config="appendonly yes\nappendfsync always")
    async with keeping as store, fleet({"ledger": ledger_server(ledger)}, store=store) as running:
        kept, refused = record("ledger"), record("ledger")
        first = await ask(running, kept, "kept")
        await store.kill()
        for edge in EDGES:
            answer = await running.asking(edge)(refused, headers={HEADERS[edge]: "refused"})
            assert (answer.status, _code(answer)) == (503, "idempotency_unavailable")
            assert (answer.json["retryable"], answer.json["executed"]) == (True, "no")
            assert answer.headers["retry-after"] == "1"
            assert (await running.asking(edge)(record("ledger"))).status == 200
        assert starts(ledger, refused) == 0
        await store.restart()
        assert (await ask(running, refused, "refused")).status == 200
        assert (await ask(running, kept, "kept")).body == first.body
        assert (starts(ledger, kept), starts(ledger, refused)) == (1, 1)


async def test_without_a_store_a_key_is_refused(ledger: Path) -> None:
    async with fleet({"ledger": ledger_server(ledger)}, keys={"narrow": {"tools": ["other"]}}) as running:
        for edge in EDGES:
            query = record("ledger")
            answer = await running.asking(edge)(query, headers={HEADERS[edge]: "k"})
            assert (answer.status, _code(answer)) == (503, "idempotency_unavailable")
            assert starts(ledger, query) == 0
            # Who may not ask is told so first: it never claims a key.
            answer = await running.asking(edge)(query, key="narrow", headers={HEADERS[edge]: "k"})
            assert (answer.status, _code(answer)) == (403, "forbidden")
