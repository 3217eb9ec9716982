"""The replies to one request, and the discovery that gathers them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import nats as stock_nats
import pytest

from bus_schemas.subjects import service_verb
from services.runtime.bus import Bus, BusAwayError, BusMessage
from services.runtime.bus.discovery import EndpointStats, ServiceFace, discoverable, find_instances
from services.runtime.bus.inbox import NoRespondersError
from tests.support.buses import connected
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def answering(bus: Bus, subject: str, *answers: bytes) -> AsyncIterator[list[str]]:
    """Answer every request on `subject` with all `answers`; yields the addresses that asked."""
    asked: list[str] = []

    async def answer(message: BusMessage) -> None:
        asked.append(message.reply)
        for each in answers:
            await bus.publish(message.reply, each)

    subscription = await bus.subscribe(subject, answer)
    yield asked
    await subscription.drain()


async def test_a_request_gets_its_reply(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), answering(bus, "ask", b"yes"):
            assert (await inbox.ask("ask", b"?", timeout_s=3)).data == b"yes"


async def test_headers_travel_with_a_request(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _):

            async def answer(message: BusMessage) -> None:
                await bus.publish(message.reply, json.dumps(message.headers).encode())

            await bus.subscribe("ask", answer)
            reply = await inbox.ask("ask", b"", timeout_s=3, headers={"mcp-request-id": "1", "other": "grüße"})
            assert json.loads(reply.data) == {"mcp-request-id": "1", "other": "grüße"}


async def test_nobody_on_the_subject_is_told_at_once(nats: NatsServer) -> None:
    with anyio.fail_after(2):
        async with connected(nats.url) as (_, inbox, _life):
            with pytest.raises(NoRespondersError):
                await inbox.ask("nobody", b"", timeout_s=60)


async def test_a_reply_that_does_not_come_is_waited_for_until_the_time_is_up(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), answering(bus, "silent"):
            with pytest.raises(TimeoutError):
                await inbox.ask("silent", b"", timeout_s=0.05)


async def test_a_request_without_a_connection_is_refused_and_leaves_nothing_behind() -> None:
    with anyio.fail_after(10):
        async with nats_server() as server, connected(server.url) as (bus, inbox, _):
            await server.kill()
            await until(lambda: not bus.connected)
            with pytest.raises(BusAwayError):
                await inbox.ask("ask", b"", timeout_s=1)
            with pytest.raises(BusAwayError):
                await inbox.gather("ask", b"", total_s=1, stall_s=1)
            assert inbox._exchanges == {}


async def test_an_exchange_gets_several_replies_in_order(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), answering(bus, "ask", b"1", b"2", b"3"):
            with inbox.expect() as exchange:
                await bus.publish("ask", b"", reply=exchange.reply_to)
                assert [(await exchange.next()).data for _ in range(3)] == [b"1", b"2", b"3"]


async def test_the_replies_of_two_exchanges_do_not_mix(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _):
            with inbox.expect() as one, inbox.expect() as two:
                await bus.publish(two.reply_to, b"two")
                await bus.publish(one.reply_to, b"one")
                assert (await one.next()).data == b"one"
                assert (await two.next()).data == b"two"


async def test_a_reply_that_comes_too_late_reaches_nobody(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), answering(bus, "silent") as asked:
            with pytest.raises(TimeoutError):
                await inbox.ask("silent", b"", timeout_s=0.05)
            with inbox.expect() as exchange:
                await bus.publish(asked[0], b"too late")
                await bus.publish(exchange.reply_to, b"in time")
                assert (await exchange.next()).data == b"in time"
            assert inbox._exchanges == {}


async def test_an_exchange_that_fails_first_gives_what_has_come(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _):
            with inbox.expect() as exchange:
                await bus.publish(exchange.reply_to, b"accepted")
                assert (await exchange.next()).data == b"accepted"
                waiting = asyncio.create_task(exchange.next())
                await asyncio.sleep(0)
                exchange.fail(ConnectionError("the worker is gone"))
                with pytest.raises(ConnectionError):
                    await waiting


async def test_a_reply_is_not_lost_to_a_wait_that_was_given_up(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _):
            with inbox.expect() as exchange:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await exchange.next()
                await bus.publish(exchange.reply_to, b"kept")
                assert (await exchange.next()).data == b"kept"


async def test_an_empty_reply_with_headers_is_not_taken_for_nobody(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _):
            with inbox.expect() as exchange:
                await bus.publish(exchange.reply_to, b"", headers={"mcp-kind": "result"})
                assert (await exchange.next()).data == b""


async def test_gathering_takes_all_who_answer_and_ends_when_no_more_come(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), connected(nats.url) as (other, _o, _life):
            async with answering(bus, "all", b"a"), answering(other, "all", b"b"), answering(other, "all", b"c"):
                replies = await inbox.gather("all", b"", total_s=60, stall_s=0.1)
                assert sorted(reply.data for reply in replies) == [b"a", b"b", b"c"]


async def test_gathering_ends_in_time_although_answers_keep_coming(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _):
            done = asyncio.Event()

            async def answer_for_ever(message: BusMessage) -> None:
                while not done.is_set():
                    await bus.publish(message.reply, b"more")
                    await asyncio.sleep(0.01)

            subscription = await bus.subscribe("chatty", answer_for_ever)
            replies = await inbox.gather("chatty", b"", total_s=0.2, stall_s=60)
            assert len(replies) > 1
            done.set()
            await subscription.drain()


async def test_gathering_from_nobody_ends_at_once(nats: NatsServer) -> None:
    with anyio.fail_after(2):
        async with connected(nats.url) as (_, inbox, _life):
            assert await inbox.gather("nobody", b"", total_s=60, stall_s=60) == []


def face(instance: str = "abc", *, name: str = "files") -> ServiceFace:
    stats = EndpointStats(requests=4, errors=1, last_error="timeout", processing_ns=400)
    return ServiceFace(
        name=name,
        version="1.2.0",
        instance=instance,
        description="A server.",
        subject="mcp.v1.call.files.1_2_0",
        queue="files.1_2_0",
        started_at=0.0,
        stats=stats,
        metadata=lambda: {"state": "serving"},
    )


IDENTITY = {"name": "files", "id": "abc", "version": "1.2.0", "metadata": {"state": "serving"}}
ENDPOINT = {"name": "call", "subject": "mcp.v1.call.files.1_2_0", "queue_group": "files.1_2_0"}
ANSWERS: dict[str, dict[str, Any]] = {
    "PING": {"type": "io.nats.micro.v1.ping_response", **IDENTITY},
    "INFO": {
        "type": "io.nats.micro.v1.info_response",
        **IDENTITY,
        "description": "A server.",
        "endpoints": [{**ENDPOINT, "metadata": {}}],
    },
    "STATS": {
        "type": "io.nats.micro.v1.stats_response",
        **IDENTITY,
        "started": "1970-01-01T00:00:00Z",
        "endpoints": [
            {
                **ENDPOINT,
                "num_requests": 4,
                "num_errors": 1,
                "last_error": "timeout",
                "processing_time": 400,
                "average_processing_time": 100,
            }
        ],
    },
}


@pytest.mark.parametrize("verb", ANSWERS)
@pytest.mark.parametrize("whom", [(), ("files",), ("files", "abc")])
async def test_a_service_answers_discovery_of_all_of_one_name_and_of_itself(
    nats: NatsServer, verb: str, whom: tuple[str, ...]
) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), discoverable(bus, face()):
            replies = await inbox.gather(service_verb(verb, *whom), b"", total_s=5, stall_s=0.05)
            assert [json.loads(reply.data) for reply in replies] == [ANSWERS[verb]]


async def test_a_service_does_not_answer_discovery_of_another(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), discoverable(bus, face()):
            for subject in (service_verb("PING", "other"), service_verb("PING", "files", "other")):
                with pytest.raises(NoRespondersError):
                    await inbox.ask(subject, b"", timeout_s=2)
            with pytest.raises(TimeoutError):
                await inbox.ask(service_verb("NONE"), b"", timeout_s=0.05)


async def test_a_service_that_closes_is_not_found_any_more(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _):
            async with discoverable(bus, face()):
                assert await find_instances(inbox) == [("files", "abc")]
            assert await find_instances(inbox) == []


async def test_a_discovery_answer_holds_no_header_of_its_question(nats: NatsServer) -> None:
    secret = {"authorization": "Bearer secret"}
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), discoverable(bus, face()):
            reply = await inbox.ask(service_verb("PING"), b"", timeout_s=2, headers=secret)
            assert not reply.headers

            async def respond_as_the_library_does(message: BusMessage) -> None:
                await message.respond(b"")

            await bus.subscribe("stock", respond_as_the_library_does)
            reply = await inbox.ask("stock", b"", timeout_s=2, headers=secret)
            assert reply.headers == secret


async def test_instances_are_found_among_answers_of_strangers(nats: NatsServer) -> None:
    strange = [b"no json", b"[]", b"{}", b'{"name": "a.>", "id": "b c"}', b'{"name": "files", "id": 7}', b""]
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), discoverable(bus, face("one")):
            async with answering(bus, service_verb("PING"), *strange), discoverable(bus, face("two", name="other")):
                assert sorted(await find_instances(inbox)) == [("files", "one"), ("other", "two")]


async def test_no_instances_are_found_without_a_bus() -> None:
    with anyio.fail_after(10):
        async with nats_server() as server, connected(server.url) as (bus, inbox, _):
            await server.kill()
            await until(lambda: not bus.connected)
            assert await find_instances(inbox) == []


async def test_a_message_without_a_reply_address_gets_no_answer(
    nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as (bus, inbox, _), discoverable(bus, face()):
            client = await stock_nats.connect(nats.url)
            await client.publish(service_verb("PING"), b"")
            await client.close()
            assert await find_instances(inbox) == [("files", "abc")]
            assert "bus error" not in [record.message for record in caplog.records]


async def test_where_a_reply_goes_cannot_be_guessed_from_where_others_went(nats: NatsServer) -> None:
    """All workers may publish to an orchestrator's inbox. Seen to fail with exchanges that are counted."""
    async with connected(nats.url) as side:
        with side.inbox.expect() as first, side.inbox.expect() as second:
            tokens = [exchange.reply_to.removeprefix(f"{side.bus.inbox_prefix}.r.") for exchange in (first, second)]
    assert all(len(token) >= 16 and "." not in token for token in tokens)
    assert tokens[0] != tokens[1]
