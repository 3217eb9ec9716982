"""The load driver sends what it was asked to send and writes down truly what it was told."""

import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import nats as nats_client
import orjson
import psutil
import pytest
from aiohttp import web
from nats.aio.msg import Msg

from tests.support.account import read_account
from tests.support.ledger import Ledger
from tests.support.load import STOPPING
from tests.support.load_process import load_process
from tests.support.ports import free_port
from tests.support.processes import ProcessDiedError
from tests.support.records import Sent, Told, read_record
from tests.support.senders import QUERY_SUBJECT
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

Query = dict[str, Any]
Handler = Callable[[Query], Awaitable[web.Response]]
KEY = "bb_a-key-of-the-test"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


async def test_every_query_has_an_id_of_its_own_and_is_told_what_the_gateway_answered(record: Path) -> None:
    queries: list[Query] = []

    async def answer(query: Query) -> web.Response:
        queries.append(query)
        return _result(instance="w1", server="other_mcp", attempts=2)

    async with (
        _gateway(answer) as url,
        load_process(
            record, urls=[url], server="ledger_mcp", key=KEY, concurrency=5, total=20, ms=7, timeout_ms=900
        ) as load,
    ):
        summary = await load.finished()
    sent, told = _read(record)
    ids = {query["arguments"].pop("id") for query in queries}
    assert ids == sent.keys() == told.keys()
    assert len(ids) == 20
    assert queries == [{"server": "ledger_mcp", "tool": "record", "arguments": {"ms": 7}, "timeout_ms": 900}] * 20
    assert {(it.status, it.code, it.executed, it.instance, it.server, it.attempts) for it in told.values()} == {
        (200, None, None, "w1", "other_mcp", 2)
    }
    assert (summary.sent, summary.answered, summary.refused, summary.unanswered) == (20, 20, {}, 0)


async def test_the_key_goes_into_the_header_and_not_into_the_arguments_of_the_process(record: Path) -> None:
    async with (
        _gateway(_succeed) as url,
        load_process(record, urls=[url], server="s", key=KEY, concurrency=1) as load,
    ):
        await load.told(1)
        assert KEY not in " ".join(psutil.Process(load.process.pid).cmdline())
        summary = await load.stopped()
    assert summary.answered == summary.sent


async def test_several_gateways_are_asked_in_turn(record: Path) -> None:
    asked: Counter[str] = Counter()

    def gateway_named(name: str) -> Handler:
        async def answer(_query: Query) -> web.Response:
            asked[name] += 1
            return _result(instance=name)

        return answer

    async with (
        _gateway(gateway_named("a")) as one,
        _gateway(gateway_named("b")) as other,
        load_process(record, urls=[one, other], server="s", key=KEY, concurrency=4, total=40) as load,
    ):
        await load.finished()
    assert asked == {"a": 20, "b": 20}


async def test_at_a_rate_queries_do_not_wait_for_the_answers_of_others(record: Path) -> None:
    all_are_here, waiting = anyio.Event(), 0

    async def answer_when_all_are_here(_query: Query) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 30:
            all_are_here.set()
        await all_are_here.wait()
        return _result()

    async with (
        _gateway(answer_when_all_are_here) as url,
        load_process(record, urls=[url], server="s", key=KEY, rate=200, total=30) as load,
    ):
        summary = await load.finished()
    assert (summary.sent, summary.answered) == (30, 30)


async def test_a_concurrency_is_reached_and_not_exceeded(record: Path) -> None:
    in_flight, most, lanes_are_full = 0, 0, anyio.Event()

    async def count(_query: Query) -> web.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        if in_flight == 6:
            lanes_are_full.set()
        await lanes_are_full.wait()
        in_flight -= 1
        return _result()

    async with (
        _gateway(count) as url,
        load_process(record, urls=[url], server="s", key=KEY, concurrency=6, total=60) as load,
    ):
        summary = await load.finished()
    assert (most, summary.answered) == (6, 60)


async def test_a_problem_is_recorded_with_its_code(record: Path) -> None:
    async def refuse(_query: Query) -> web.Response:
        return _problem(503, "overloaded", "no")

    told = await _told_by(refuse, record)
    assert (told.status, told.code, told.executed) == (503, "overloaded", "no")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"code": 5, "executed": "no"}', b""])
@pytest.mark.parametrize("status", [200, 502])
async def test_an_answer_that_is_not_the_gateways_is_unreadable(record: Path, status: int, body: bytes) -> None:
    async def babble(_query: Query) -> web.Response:
        return web.Response(status=status, body=body)

    told = await _told_by(babble, record)
    assert (told.code, told.executed) == ("unreadable", "maybe")


async def test_a_connection_that_ends_in_the_middle_may_have_run(record: Path) -> None:
    async def hang_up(_query: Query) -> web.Response:
        raise ConnectionResetError

    told = await _told_by(hang_up, record)
    assert (told.status, told.code, told.executed) == (0, "connection", "maybe")


async def test_a_gateway_that_cannot_be_reached_has_certainly_not_run_it(record: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with load_process(record, urls=[url], server="s", key=KEY, concurrency=1, total=1) as load:
        summary = await load.finished()
    (told,) = _read(record)[1].values()
    assert (told.code, told.executed) == ("connection", "no")
    assert summary.refused == {"connection": 1}


async def test_silence_is_not_recorded_as_an_answer(record: Path) -> None:
    async def be_silent(_query: Query) -> web.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async with (
        _gateway(be_silent) as url,
        load_process(record, urls=[url], server="s", key=KEY, concurrency=1, total=1, timeout_ms=1) as load,
    ):
        summary = await load.finished()
    sent, told = _read(record)
    assert (len(sent), told, summary.unanswered) == (1, {}, 1)


@pytest.mark.parametrize("pace", [{"rate": 100.0}, {"concurrency": 10}])
async def test_told_to_stop_it_sends_no_more_and_waits_for_the_answers(record: Path, pace: dict[str, Any]) -> None:
    stopped = anyio.Event()
    asked = 0

    async def answer_once_stopped(_query: Query) -> web.Response:
        nonlocal asked
        asked += 1
        await stopped.wait()
        return _result()

    async with (
        _gateway(answer_once_stopped) as url,
        load_process(record, urls=[url], server="s", key=KEY, **pace) as load,
    ):
        await until(lambda: asked >= 10)
        load.process.signal(signal.SIGTERM)
        await until(lambda: STOPPING in load.process.stderr())
        assert load.process.returncode is None
        stopped.set()
        summary = await load.finished()
    sent, told = _read(record)
    assert sent.keys() == told.keys()
    assert summary.answered == summary.sent == asked


async def test_it_stops_by_itself_after_its_duration(record: Path) -> None:
    async with (
        _gateway(_succeed) as url,
        load_process(record, urls=[url], server="s", key=KEY, rate=50, duration_s=0.5) as load,
    ):
        summary = await load.finished()
    assert 1 <= summary.answered <= 26
    assert summary.answered == summary.sent


async def test_queries_over_nats_carry_the_key_and_are_told_the_status_of_the_reply(
    nats: NatsServer, record: Path
) -> None:
    headers: list[dict[str, str]] = []

    async def answer(message: Msg) -> None:
        headers.append(dict(message.headers or {}))
        number = int(orjson.loads(message.data)["arguments"]["id"].rpartition("-")[2])
        reply = _result(instance="w1") if number % 2 else _problem(404, "tool_not_found", "no")
        assert isinstance(reply.body, bytes)
        await bus.publish(message.reply, reply.body, headers={"mcp-status": str(reply.status)})

    bus = await nats_client.connect(nats.url)
    await bus.subscribe(QUERY_SUBJECT, "orchestrator", cb=answer)
    await bus.flush()
    async with load_process(record, nats_url=nats.url, server="s", key=KEY, concurrency=4, total=20) as load:
        summary = await load.finished()
    await bus.close()
    assert {one["authorization"] for one in headers} == {f"Bearer {KEY}"}
    assert [int(one["mcp-sent-at"]) > 0 for one in headers] == [True] * 20
    assert (summary.answered, summary.refused) == (10, {"tool_not_found": 10})
    assert Counter(told.status for told in _read(record)[1].values()) == {200: 10, 404: 10}


async def test_nobody_listening_on_nats_is_told_as_no_responders(nats: NatsServer, record: Path) -> None:
    async with load_process(record, nats_url=nats.url, server="s", concurrency=1, total=1) as load:
        summary = await load.finished()
    assert summary.refused == {"no_responders": 1}
    assert [told.executed for told in _read(record)[1].values()] == ["no"]


async def test_a_broker_that_is_gone_is_told_as_a_connection_and_nothing_is_sent_later(record: Path) -> None:
    async with nats_server() as broker, load_process(record, nats_url=broker.url, server="s", rate=100) as load:
        await load.told(1)
        await broker.kill()
        await load.told(len(_read(record)[1]) + 20)
        summary = await load.stopped()
    assert summary.refused.keys() == {"no_responders", "connection"}
    assert summary.unanswered <= 1  # the one that was on its way when the broker died hears nothing


async def test_a_broker_that_cannot_be_reached_ends_the_driver_without_showing_the_url(record: Path) -> None:
    url = f"nats://busbar:secret@127.0.0.1:{free_port()}"
    async with load_process(record, nats_url=url, server="s", concurrency=1, total=1) as load:
        with pytest.raises(ProcessDiedError) as death:
            await load.finished()
    assert "status 1" in str(death.value)
    assert "secret" not in load.process.stdout() + load.process.stderr()


async def test_the_account_of_a_gateway_that_does_everything_wrong(record: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")

    async def answer(query: Query) -> web.Response:
        id_ = query["arguments"]["id"]
        match int(id_.rpartition("-")[2]):
            case 0:  # answers without having called
                return _result()
            case 1:  # calls twice
                await ledger.note(id_, "start")
                await ledger.note(id_, "start")
                return _result()
            case 2:  # calls, and says that it did not
                await ledger.note(id_, "start")
                return _problem(503, "overloaded", "no")
            case 3:  # calls after the caller has gone
                await anyio.sleep(0.7)
                await ledger.note(id_, "start")
                return _problem(504, "timeout", "maybe")
        await ledger.note(id_, "start")
        return _result(instance="w1")

    async with (
        _gateway(answer) as url,
        load_process(record, urls=[url], server="s", key=KEY, concurrency=2, total=10, timeout_ms=100) as load,
    ):
        await load.finished()
    ledger.close()
    it = read_account(tmp_path / "ledger", record, deadline_s=0.1)
    names = {id_: int(id_.rpartition("-")[2]) for id_ in _read(record)[0]}
    assert {names[id_] for id_ in it.lost} == {0, 3}
    assert {names[id_] for id_ in it.repeated} == {1}
    assert {names[id_] for id_ in it.ran_after_no} == {2}
    assert {names[id_] for id_ in it.started_after_deadline} == {3}
    assert (it.sent, it.answered, it.refused, it.by_instance) == (10, 7, {"overloaded": 1}, {"w1": 6, "a": 1})


async def _told_by(handler: Handler, record: Path) -> Told:
    """Return what the driver wrote down about one query that `handler` answers."""
    async with (
        _gateway(handler) as url,
        load_process(record, urls=[url], server="s", key=KEY, concurrency=1, total=1) as load,
    ):
        await load.finished()
    (told,) = _read(record)[1].values()
    return told


async def _succeed(_query: Query) -> web.Response:
    return _result()


def _result(*, instance: str = "a", server: str = "s", attempts: int = 1) -> web.Response:
    answer = {"id": "1", "server": server, "instance": instance, "attempts": attempts, "result": {"content": []}}
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _problem(status: int, code: str, executed: str) -> web.Response:
    body = orjson.dumps({"status": status, "code": code, "executed": executed, "id": "1"})
    return web.Response(status=status, body=body, content_type="application/problem+json")


@asynccontextmanager
async def _gateway(handler: Handler) -> AsyncIterator[str]:
    """A stand-in for an orchestrator: `POST /v1/query` for holders of the key, answered by `handler`."""

    async def query(request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _problem(401, "unauthorized", "no")
        if request.content_type != "application/json":
            return _problem(415, "unsupported_media_type", "no")
        try:
            return await handler(orjson.loads(await request.read()))
        except ConnectionResetError:
            assert request.transport is not None
            request.transport.abort()
            raise

    app = web.Application()
    app.router.add_post("/v1/query", query)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def _read(record: Path) -> tuple[dict[str, Sent], dict[str, Told]]:
    lines = list(read_record(record))
    return (
        {line.id: line for line in lines if isinstance(line, Sent)},
        {line.id: line for line in lines if isinstance(line, Told)},
    )
