"""The faults of the stock nats-py client, each shown on it, and shown to be mended in ours."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from services.runtime.bus.client import HardenedClient
from tests.support.fake_nats import FakeNats, fake_nats
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

STOCK, OURS = Client, HardenedClient


@asynccontextmanager
async def client_of(kind: type[Client], url: str, **options: Any) -> AsyncIterator[Client]:
    """Connect a client; what it holds is dropped in the end, so that a server that does not read holds up nothing."""
    client = kind()
    await client.connect(url, error_cb=ignore, **options)
    try:
        yield client
    finally:
        if client._transport is not None:
            HardenedClient.abort(client)  # type: ignore[arg-type]
        with suppress(OSError, asyncio.CancelledError):  # the stock client may wait for what it has cancelled
            await client.close()


async def ignore(_: Exception) -> None:
    pass


async def drain(subscription: Subscription) -> None:
    await subscription.drain()  # type: ignore[no-untyped-call]


async def order_of(kind: type[Client], command: str, fake: FakeNats) -> list[str]:
    """Return the commands that a flush after a publish, or a drain, puts on the wire."""
    async with client_of(kind, fake.url) as client:
        subscription = await client.subscribe("work", cb=lose)
        await client.flush()
        await client.flush()
        fake.heard.clear()
        if command == "PUB":
            await client.publish("work", b"")
            await client.flush()
        else:
            await drain(subscription)
        await until(lambda: len(fake.heard) >= 2)
        return fake.heard[:2]


async def lose(_: Msg) -> None:
    pass


@pytest.mark.parametrize("command", ["PUB", "UNSUB"])
async def test_a_flush_asks_the_server_after_what_it_is_to_prove(command: str) -> None:
    with anyio.fail_after(5):
        async with fake_nats() as fake:
            assert await order_of(STOCK, command, fake) == ["PING", command]
            assert await order_of(OURS, command, fake) == [command, "PING"]


async def drained_with_a_request_on_its_way(kind: type[Client], fake: FakeNats) -> list[bytes]:
    """Drain while the server has sent one more request than the client has seen; return what was handled."""
    handled: list[bytes] = []
    drained = asyncio.Event()

    async def handle(message: Msg) -> None:
        handled.append(message.data)

    async def send_one_more(_: str) -> None:
        # A server may send until it reads the UNSUB; where a PING came before it, the drain is over by now.
        if fake.heard[-2:] == ["PING", "UNSUB"]:
            await drained.wait()
        fake.deliver("work", b"late")

    fake.before_unsub = send_one_more
    async with client_of(kind, fake.url) as client:
        subscription = await client.subscribe("work", cb=handle)
        await until(lambda: "SUB" in fake.heard)
        await drain(subscription)
        drained.set()
        await until(lambda: client.stats["in_msgs"] == 1)
        return handled


async def test_a_drained_subscription_handles_what_the_server_sent_before_it_knew() -> None:
    with anyio.fail_after(5):
        async with fake_nats() as fake:
            assert await drained_with_a_request_on_its_way(STOCK, fake) == []
        async with fake_nats() as fake:
            assert await drained_with_a_request_on_its_way(OURS, fake) == [b"late"]


async def test_drains_under_load_lose_nothing(nats: NatsServer) -> None:
    """Workers come and go one after another, at well over 1,500 requests a second and with a busy handler."""
    handled: set[int] = set()
    sent = 0

    async def handle(message: Msg) -> None:
        handled.add(int(message.data))
        busy_until = time.perf_counter() + 0.0002
        while time.perf_counter() < busy_until:
            pass

    async def load(client: Client) -> None:
        nonlocal sent
        while True:
            for _ in range(10):
                await client.publish("drains", str(sent).encode())
                sent += 1
            await asyncio.sleep(0.005)

    with anyio.fail_after(30):
        async with (
            client_of(OURS, nats.url) as sender,
            client_of(OURS, nats.url) as one,
            client_of(OURS, nats.url) as two,
        ):
            keeper = await two.subscribe("drains", queue="workers", cb=handle)
            await two.flush()
            loading = asyncio.create_task(load(sender))
            for _ in range(150):
                leaver = await one.subscribe("drains", queue="workers", cb=handle)
                await one.flush()
                received = leaver.delivered
                await until(lambda was=received, sub=leaver: sub.delivered >= was + 5)  # type: ignore[misc]
                await drain(leaver)
            loading.cancel()
            await asyncio.wait([loading])
            await sender.flush()
            await drain(keeper)
    assert sent > 100
    assert handled == set(range(sent))


async def hears_after_a_late_pong(kind: type[Client], fake: FakeNats) -> bool:
    heard = asyncio.Event()

    async def hear(_: Msg) -> None:
        heard.set()

    async with client_of(kind, fake.url) as client:
        await client.subscribe("news", cb=hear)
        await client.flush()
        fake.answers_pings = False
        with pytest.raises(errors.FlushTimeoutError):
            await client.flush(timeout=0.05)  # type: ignore[arg-type]
        fake.answers_pings = True
        fake.say(b"PONG\r\n")
        fake.deliver("news", b"")
        reading = client._reading_task
        assert reading is not None
        await until(lambda: heard.is_set() or reading.done())
        assert client.is_connected
        return heard.is_set()


async def test_a_late_pong_does_not_make_the_client_deaf() -> None:
    with anyio.fail_after(5):
        async with fake_nats() as fake:
            assert not await hears_after_a_late_pong(STOCK, fake)
        async with fake_nats() as fake:
            assert await hears_after_a_late_pong(OURS, fake)


async def test_a_late_pong_is_counted_so_that_the_next_flush_gets_its_own() -> None:
    with anyio.fail_after(5):
        async with fake_nats() as fake, client_of(OURS, fake.url) as client:
            fake.answers_pings = False
            with pytest.raises(errors.FlushTimeoutError):
                await client.flush(timeout=0.05)  # type: ignore[arg-type]
            flushing = asyncio.create_task(client.flush())
            await until(lambda: fake.heard.count("PING") == 2)
            fake.say(b"PONG\r\n")
            await until(lambda: len(client._pongs) == 1)
            assert not flushing.done()
            fake.say(b"PONG\r\n")
            await flushing


async def test_a_flush_whose_answer_cannot_be_read_does_not_succeed() -> None:
    async def flush_without_a_read_loop(kind: type[Client], url: str) -> None:
        async with client_of(kind, url) as client:
            assert client._reading_task is not None
            client._reading_task.cancel()
            await asyncio.wait([client._reading_task])
            await client.flush()

    with anyio.fail_after(5):
        async with fake_nats() as fake:
            await flush_without_a_read_loop(STOCK, fake.url)
            with pytest.raises(errors.StaleConnectionError):
                await flush_without_a_read_loop(OURS, fake.url)


async def test_headers_count_towards_the_largest_payload() -> None:
    with anyio.fail_after(10):
        async with nats_server(max_payload=1024) as server:
            closed = asyncio.Event()

            async def close() -> None:
                closed.set()

            async with client_of(STOCK, server.url, closed_cb=close) as stock:
                await stock.publish("large", b"x" * 1000, headers={"name": "value" * 10})
                await closed.wait()  # for good, although it may reconnect
            async with client_of(OURS, server.url) as ours:
                with pytest.raises(errors.MaxPayloadError):
                    await ours.publish("large", b"x" * 1000, headers={"name": "value" * 10})
                await ours.flush()
                assert ours.is_connected


@pytest.mark.parametrize("headers", [{"a": "b"}, {"name": "grüße", "other": ""}])
async def test_a_message_may_be_exactly_as_large_as_the_server_takes(headers: dict[str, str]) -> None:
    written = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    room = 1024 - len(written.encode())
    with anyio.fail_after(10):
        async with nats_server(max_payload=1024) as server, client_of(OURS, server.url) as client:
            subscription = await client.subscribe("large")
            await client.publish("large", b"x" * room, headers=headers)
            assert len((await subscription.next_msg()).data) == room
            with pytest.raises(errors.MaxPayloadError):
                await client.publish("large", b"x" * (room + 1), headers=headers)


@asynccontextmanager
async def stuck(kind: type[Client], fake: FakeNats) -> AsyncIterator[Client]:
    """A client whose server has stopped reading, with more written than the system's buffers take."""
    async with client_of(kind, fake.url, ping_interval=3600) as client:
        assert client._transport is not None
        fake.reads.clear()
        for _ in range(8):
            client._transport.write(b"PUB stuck %d\r\n%s\r\n" % (2**20, bytes(2**20)))
        await client.publish("stuck")
        await until(lambda: client.pending_data_size == 0)  # the flusher has taken it, and waits
        yield client


async def test_a_cancellation_ends_a_publish_that_the_server_does_not_read() -> None:
    async def publishing_ended_as_cancelled(kind: type[Client]) -> bool:
        async with fake_nats() as fake, stuck(kind, fake) as client:
            publishing = asyncio.create_task(client.publish("large", bytes(3 * 2**20)))
            await until(lambda: client.pending_data_size > 0)
            publishing.cancel()
            await asyncio.wait([publishing])
            return publishing.cancelled()

    with anyio.fail_after(10):
        assert not await publishing_ended_as_cancelled(STOCK)
        assert await publishing_ended_as_cancelled(OURS)


async def test_a_reconnect_does_not_wait_until_the_old_server_has_read_everything() -> None:
    with anyio.fail_after(10):
        async with fake_nats() as fake, stuck(STOCK, fake) as client:
            await client.force_reconnect()
            with pytest.raises(TimeoutError):
                await until(lambda: fake.connections == 2, timeout_s=0.5)
        async with fake_nats() as fake, stuck(OURS, fake) as client:
            await client.force_reconnect()
            await until(lambda: fake.connections == 2)


async def test_a_flush_without_a_connection_keeps_what_waits_to_be_sent() -> None:
    with anyio.fail_after(10):
        async with nats_server() as server, client_of(OURS, server.url, reconnect_time_wait=0.05) as client:
            subscription = await client.subscribe("kept")
            await client.flush()
            await server.kill()
            await until(lambda: not client.is_connected)
            await client.publish("kept", b"buffered by the bare client")
            with suppress(errors.Error):
                await client.flush(timeout=0.1)  # type: ignore[arg-type]
            await server.restart()
            assert (await subscription.next_msg(timeout=5)).data == b"buffered by the bare client"


async def test_nothing_is_taken_of_a_connection_that_is_given_up() -> None:
    client = HardenedClient()
    taken: list[bytes] = []
    client.take_at_once(1, lambda message: taken.append(message.data))
    message = b"MSG a 1 2\r\nhi\r\n"
    assert client._take(message) == 0
    client._status = Client.CONNECTED
    assert client._take(message + b"MSG a") == len(message)
    assert taken == [b"hi"]
