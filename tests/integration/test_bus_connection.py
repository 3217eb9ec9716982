"""What a service sends and subscribes: nothing goes out late, and nothing is refused silently."""

import asyncio
import logging

import anyio
import nats as stock_nats
import pytest

from services.runtime.bus import BusAwayError, BusDeniedError, BusMessage, connection, open_bus
from services.runtime.bus.connection import MessageTooLargeError
from services.runtime.lifecycle import Lifecycle
from tests.support.buses import Ear, be_quick, connected, refused_address, until_answered
from tests.support.fake_nats import fake_nats
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)


async def ignore(_: Exception) -> None:
    pass


async def test_what_is_published_while_the_bus_is_away_is_refused_and_not_sent_later(quick: None) -> None:
    with anyio.fail_after(15):
        async with nats_server() as server, connected(server.url) as (bus, _, life):
            ours, stocks = Ear(), Ear()
            await bus.subscribe("ours", ours.hear)
            stock = await stock_nats.connect(server.url, reconnect_time_wait=0.02, error_cb=ignore)
            await stock.subscribe("stock", cb=stocks.hear)
            await stock.flush()
            await server.kill()
            await until(lambda: not bus.connected and not stock.is_connected)
            with pytest.raises(BusAwayError):
                await bus.publish("ours", b"too late")
            await stock.publish("stock", b"too late")
            await server.restart()
            await until(lambda: bus.connected and stock.is_connected)
            await bus.publish("ours", b"in time")
            await until(lambda: ours.heard and stocks.heard)
            assert ours.heard == [b"in time"]
            assert stocks.heard == [b"too late"]
            await stock.close()
            assert not life.stopping.is_set()


async def test_without_a_connection_nothing_is_subscribed_or_fenced(quick: None) -> None:
    with anyio.fail_after(10):
        async with nats_server() as server, connected(server.url) as (bus, _, _life):
            ear = Ear()
            await server.kill()
            await until(lambda: not bus.connected)
            with pytest.raises(BusAwayError):
                await bus.subscribe("news", ear.hear)
            with pytest.raises(BusAwayError):
                await bus.fence()


async def test_a_subscription_whose_server_does_not_answer_is_not_put_in_force_later(quick: None) -> None:
    with anyio.fail_after(10):
        async with fake_nats() as fake, connected(fake.url) as (bus, _, _life):
            fake.answers_pings = False
            with pytest.raises(BusAwayError):
                await bus.subscribe("news", Ear().hear)
            assert "news" in fake.subscriptions
            fake.answers_pings = True
            await bus._client.force_reconnect()
            await until(lambda: fake.connections == 2 and bus.connected)
            await bus.fence()
            assert fake.subscriptions
            assert "news" not in fake.subscriptions


@pytest.mark.parametrize("url", ["", "nats://", "nats://127.0.0.1:port"])
async def test_an_address_that_is_none_is_told_as_a_bus_that_is_away(url: str) -> None:
    with anyio.fail_after(5):
        async with Lifecycle() as life:
            with pytest.raises(BusAwayError):
                async with open_bus(url, service="test", instance="a", life=life, connect_timeout_s=1):
                    pass
            assert not life.stopping.is_set()


async def test_a_start_without_a_server_ends_after_its_time(quick: None) -> None:
    with anyio.fail_after(5), refused_address() as address, pytest.raises(BusAwayError):
        async with connected(address, connect_timeout_s=0.3):
            pass


async def test_a_start_with_a_server_that_says_nothing_ends_after_its_time(quick: None) -> None:
    with anyio.fail_after(5):
        async with nats_server() as server:
            server.pause()
            with pytest.raises(BusAwayError):
                async with connected(server.url, connect_timeout_s=0.3):
                    pass
            server.resume()


async def test_a_wrong_password_is_told_as_a_bus_that_is_away(nats: NatsServer, quick: None) -> None:
    with anyio.fail_after(5), pytest.raises(BusAwayError):
        async with connected(nats.url.replace("busbar:", "busbar:wrong"), connect_timeout_s=0.3):
            pass


async def test_a_start_waits_for_a_server_that_comes_in_time(
    quick: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = NatsServer(tmp_path_factory.mktemp("late"))
    attempted = asyncio.Event()

    async def live() -> None:
        async with connected(server.url) as (bus, _, _life):
            assert bus.connected

    class Attempts(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            attempted.set()

    handler = Attempts()
    connection.log.addHandler(handler)
    try:
        with anyio.fail_after(10):
            living = asyncio.create_task(live())
            await attempted.wait()
            await server.start()
            await living
    finally:
        connection.log.removeHandler(handler)
        server.end()


async def test_a_publish_that_is_too_large_is_refused_and_the_connection_lives() -> None:
    with anyio.fail_after(10):
        async with nats_server(max_payload=1024) as server, connected(server.url) as (bus, _, life):
            assert bus.max_payload == 1024
            with pytest.raises(MessageTooLargeError):
                await bus.publish("large", b"x" * 1025)
            with pytest.raises(MessageTooLargeError):
                await bus.publish("large", b"x" * 1000, headers={"name": "value" * 10})
            await bus.fence()
            assert not life.stopping.is_set()


def users(subscribe: str) -> str:
    """An authorization block in which the test's user may subscribe to its inbox and to `subscribe`."""
    return (
        'authorization { users: [ { user: busbar, password: pw, permissions: { publish: ">", '
        f'subscribe: ["_INBOX_test.>", {subscribe}] }} }} ] }}'
    )


async def test_a_denied_subscription_is_told_to_whoever_asked() -> None:
    with anyio.fail_after(10):
        async with nats_server(config=users('"Allowed.>"'), password="pw") as server:
            stock = await stock_nats.connect(server.url, error_cb=ignore)
            await stock.subscribe("Secret.News")  # returns as if all were well
            await stock.close()
            async with connected(server.url) as (bus, _, life):
                ear = Ear()
                with pytest.raises(BusDeniedError, match=r"Secret\.News"):
                    await bus.subscribe("Secret.News", ear.hear)
                with pytest.raises(BusDeniedError):
                    await bus.subscribe("Secret.News", ear.hear, queue="group")
                await bus.subscribe("Allowed.News", ear.hear)
                await bus.publish("Allowed.News", b"heard")
                await until(lambda: ear.heard)
                assert not life.stopping.is_set()


async def test_a_subscription_that_is_allowed_meanwhile_can_be_made() -> None:
    with anyio.fail_after(10):
        async with nats_server(config=users('"a"'), password="pw") as server, connected(server.url) as (bus, _, _life):
            ear = Ear()
            with pytest.raises(BusDeniedError):
                await bus.subscribe("b", ear.hear)
            await server.reload(users('"a", "b"'))
            await until_answered(bus)
            await bus.subscribe("b", ear.hear)
            await bus.publish("b", b"heard")
            await until(lambda: ear.heard)


async def test_a_subscription_that_is_taken_away_ends_the_process() -> None:
    with anyio.fail_after(10):
        async with nats_server(config=users('"a", "b"'), password="pw") as server:
            async with connected(server.url) as (bus, _, life):
                await bus.subscribe("b", Ear().hear)
                await server.reload(users('"a"'))
                await life.stopping.wait()
                assert life.status == 1


async def test_a_handler_that_waits_holds_up_its_own_subject_only(nats: NatsServer) -> None:
    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, _, _life):
            entered, let_go, ear = asyncio.Event(), asyncio.Event(), Ear()

            async def wait(_: BusMessage) -> None:
                entered.set()
                await let_go.wait()

            slow = await bus.subscribe("slow", wait)
            await bus.subscribe("quick", ear.hear)
            await bus.publish("slow", b"")
            await entered.wait()
            await bus.publish("quick", b"heard")
            await until(lambda: ear.heard)
            let_go.set()
            await slow.drain()


async def test_a_slow_consumer_is_logged_and_holds_up_nothing(
    nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, _, life):
            let_go = asyncio.Event()

            async def wait(_: BusMessage) -> None:
                await let_go.wait()

            await bus._client.subscribe("slow", cb=wait, pending_msgs_limit=1)
            for _ in range(50):
                await bus.publish("slow", b"")
            await bus.fence()
            assert "SlowConsumerError" in [vars(record).get("kind") for record in caplog.records]
            assert not life.stopping.is_set()
            let_go.set()


async def test_an_error_in_a_handler_does_not_end_its_subscription(nats: NatsServer) -> None:
    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, _, _life):
            ear = Ear()

            async def fail_once(message: BusMessage) -> None:
                if message.data == b"bad":
                    raise ValueError("a text that stays here")
                await ear.hear(message)

            await bus.subscribe("mixed", fail_once)
            await bus.publish("mixed", b"bad")
            await bus.publish("mixed", b"good")
            await until(lambda: ear.heard)


async def test_one_group_gets_each_message_once_and_two_groups_get_it_twice(nats: NatsServer) -> None:
    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, _, _life):
            one, two = Ear(), Ear()
            subscriptions = [
                await bus.subscribe("shared", one.hear, queue="a"),
                await bus.subscribe("shared", one.hear, queue="a"),
                await bus.subscribe("shared", two.hear, queue="b"),
            ]
            for number in range(20):
                await bus.publish("shared", b"%d" % number)
            for subscription in subscriptions:
                await subscription.drain()
            assert sorted(one.heard) == sorted(two.heard) == sorted(b"%d" % number for number in range(20))


async def test_the_server_is_told_who_connects(nats: NatsServer) -> None:
    with anyio.fail_after(10):
        async with Lifecycle() as life:
            async with open_bus(nats.url, service="health", instance="abc", life=life) as bus:
                assert bus._client.options["name"] == "health-abc"
                assert bus.inbox_prefix == "_INBOX_health.abc"


async def test_several_servers_are_tried_until_one_is_there(nats: NatsServer, quick: None) -> None:
    with anyio.fail_after(10):
        with refused_address() as address:
            async with connected(f"{address} , {nats.url}") as (bus, _, _life):
                assert bus.connected
