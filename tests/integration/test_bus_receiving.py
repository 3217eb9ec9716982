"""Messages of which there are many: taken where they are read, published in one write for each turn of the loop."""

import asyncio

import anyio
import pytest

from services.runtime.bus import BusMessage
from services.runtime.bus.client import HardenedClient
from tests.support.buses import connected
from tests.support.fake_nats import fake_nats
from tests.support.servers import NatsServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_everything_is_taken_in_order_when_its_subscription_is_drained(nats: NatsServer) -> None:
    taken: list[tuple[bytes, str]] = []

    def take(message: BusMessage) -> None:
        taken.append((message.data, (message.headers or {})["number"]))

    with anyio.fail_after(20):
        async with connected(nats.url) as (bus, *_), connected(nats.url) as (other, *_):
            subscription = await bus.receive("drained", take)
            for number in range(2000):
                await other.publish("drained", b"%d" % number, headers={"number": str(number)})
            await other.fence()
            await subscription.drain()
            assert taken == [(b"%d" % number, str(number)) for number in range(2000)]
            await other.publish("drained", b"late", headers={"number": ""})
            await other.fence()
            await bus.fence()
    assert len(taken) == 2000


@pytest.mark.parametrize("size", [0, 1, 40_000, 1_000_000])
async def test_a_message_of_any_size_is_taken_whole(nats: NatsServer, size: int) -> None:
    taken: list[BusMessage] = []
    with anyio.fail_after(20):
        async with connected(nats.url) as (bus, *_):
            await bus.receive("sized", taken.append)
            for headers in (None, {"name": "é, and a : colon"}):
                await bus.publish("sized", b"\r\n" * (size // 2) + b"x" * (size % 2), headers=headers, reply="back.1")
            await until(lambda: len(taken) == 2)
    assert [(len(one.data), one.subject, one.reply, one.headers) for one in taken] == [
        (size, "sized", "back.1", None),
        (size, "sized", "back.1", {"name": "é, and a : colon"}),
    ]


async def test_what_cannot_be_taken_does_not_end_the_reading(
    nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[bytes] = []

    def take(message: BusMessage) -> None:
        if message.data == b"bad":
            raise ValueError("cannot be taken")
        taken.append(message.data)

    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, *_):
            await bus.receive("mixed", take)
            for data in (b"bad", b"good"):
                await bus.publish("mixed", data)
            await until(lambda: taken)
            await bus.fence()
    assert "a message could not be taken" in caplog.text


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each write had, of all clients."""
    noted: list[int] = []
    write = HardenedClient._write

    def noting(client: HardenedClient) -> None:
        noted.append(len(client._pending))
        write(client)

    monkeypatch.setattr(HardenedClient, "_write", noting)
    return noted


async def test_what_is_published_in_one_turn_goes_out_in_one_write(nats: NatsServer, writes: list[int]) -> None:
    heard: list[BusMessage] = []
    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, *_):
            await bus.receive("many", heard.append)
            writes.clear()
            await asyncio.gather(*(bus.publish("many", b"%d" % number) for number in range(100)))
            await until(lambda: len(heard) == 100)
    assert 100 in writes


@pytest.mark.parametrize(("turn_s", "writes_of_100"), [(0.0, range(1, 60)), (0.002, range(100, 101))])
async def test_many_messages_of_many_turns_share_writes_and_few_do_not(
    nats: NatsServer, writes: list[int], turn_s: float, writes_of_100: range
) -> None:
    heard: list[bytes] = []
    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, *_), connected(nats.url) as (other, *_):
            await bus.receive("turns", lambda message: heard.append(message.data))
            writes.clear()
            for number in range(100):
                await other.publish("turns", b"%d" % number)
                await asyncio.sleep(turn_s)
            await until(lambda: len(heard) == 100)
    assert heard == [b"%d" % number for number in range(100)]
    assert len(writes) in writes_of_100


async def test_a_subject_with_a_line_break_is_refused_and_nothing_else_is_said(nats: NatsServer) -> None:
    heard: list[BusMessage] = []
    with anyio.fail_after(10):
        async with connected(nats.url) as (bus, *_):
            await bus.receive("inner", heard.append)
            for subject, reply in (("a 0\r\n\r\nPUB inner 0\r\n", ""), ("a", "b 0\r\n\r\nPUB inner 0\r\n")):
                with pytest.raises(Exception, match="subject"):
                    await bus.publish(subject, b"", reply=reply)
            await bus.publish("inner", b"", headers={"name": "one\r\nother: two"})
            await until(lambda: heard)
            assert [one.headers for one in heard] == [{"name": "one  other: two"}]


async def test_a_server_that_does_not_read_makes_publishers_wait() -> None:
    with anyio.fail_after(20):
        async with fake_nats() as fake, connected(fake.url) as (bus, _, _life):
            fake.reads.clear()

            async def publish_much() -> None:
                for _ in range(64):
                    await bus.publish("much", bytes(1_000_000))

            publishing = asyncio.create_task(publish_much())
            await asyncio.sleep(0.5)
            assert not publishing.done()
            assert bus._client._pending_data_size < 4_000_000
            fake.reads.set()
            await publishing
