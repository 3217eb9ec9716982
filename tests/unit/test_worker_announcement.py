"""What a worker says of itself."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from bus_schemas.control import DescribeWorker, DrainWorker
from services.runtime.bus import Bus, BusMessage
from services.runtime.bus.connection import MessageTooLargeError
from services.runtime.bus.discovery import EndpointStats
from services.worker import announcement as announcement_module
from services.worker.announcement import Announcement
from services.worker.consumer import CallConsumer
from services.worker.mcp.keeper import SessionKeeper, Status
from services.worker.mcp.session import ListedCatalogue
from services.worker.states import GivenStates
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MAX_PAYLOAD = 2000


class FakeBus:
    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []

    async def publish(self, _subject: str, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise MessageTooLargeError
        self.published.append(json.loads(payload))

    @property
    def events(self) -> list[str]:
        return [message["event"] for message in self.published if "event" in message]


def announcing(bus: FakeBus, keeper: SimpleNamespace) -> Announcement:
    consumer = SimpleNamespace(stats=EndpointStats(), in_flight=0, is_consuming=True)
    return Announcement(
        cast("Bus", bus),
        cast("SessionKeeper", keeper),
        cast("CallConsumer", consumer),
        cast("GivenStates", None),
        None,
        server="a",
        version="1.0.0",
        instance="abcdefghijkl",
        max_in_flight=1,
        drain=lambda: None,
    )


def keeper_of(catalogue: ListedCatalogue) -> SimpleNamespace:
    return SimpleNamespace(status=Status("up", None, catalogue), session=object(), latency_s=None, checked_at=None)


def catalogue_of(size: int) -> ListedCatalogue:
    return ListedCatalogue(tools=[{"name": "t", "description": "x" * size, "inputSchema": {"type": "object"}}])


async def test_nothing_is_said_after_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement_module, "HEARTBEAT_INTERVAL_S", 0)
    bus = FakeBus()
    announcement = announcing(bus, keeper_of(catalogue_of(1)))
    beating = asyncio.create_task(announcement.beat())
    await until(lambda: len(bus.events) >= 2)

    await announcement.tell_left()
    said = len(bus.events)
    await announcement.tell()
    for _ in range(20):
        await asyncio.sleep(0)

    assert bus.events[-1] == "left"
    assert len(bus.events) == said
    assert not beating.done()
    beating.cancel()
    await asyncio.wait([beating])


async def test_a_catalogue_that_no_message_can_carry_is_not_announced_but_the_worker_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = FakeBus()
    keeper = keeper_of(catalogue_of(MAX_PAYLOAD))
    announcement = announcing(bus, keeper)
    order = BusMessage(cast("Any", None), subject="control", reply="inbox", data=DescribeWorker().encode())
    with anyio.fail_after(5):
        await announcement.tell()
        await announcement.take_order(order)
        await announcement.tell()

    assert bus.events == ["heartbeat"] * 3
    assert not any("catalogue" in message for message in bus.published)
    assert len(caplog.records) == 1

    keeper.status = Status("up", None, catalogue_of(1))
    await announcement.tell()
    assert bus.events[-1] == "joined"


def order_to_drain() -> BusMessage:
    return BusMessage(cast("Any", None), subject="control", reply="inbox", data=DrainWorker().encode())


async def test_a_worker_that_drains_says_whether_it_was_ordered_to() -> None:
    bus = FakeBus()
    unasked = announcing(bus, keeper_of(catalogue_of(1)))
    await unasked.tell_draining()
    assert [bus.events[-1], bus.published[-1]["by_order"]] == ["draining", False]

    ordered = announcing(bus, keeper_of(catalogue_of(1)))
    await ordered.take_order(order_to_drain())
    await ordered.tell_draining()
    assert [bus.events[-1], bus.published[-1]["by_order"]] == ["draining", True]


async def test_an_order_that_meets_a_worker_on_its_way_out_is_told_too() -> None:
    bus = FakeBus()
    announcement = announcing(bus, keeper_of(catalogue_of(1)))
    await announcement.tell_draining()
    await announcement.take_order(order_to_drain())
    draining = [message["by_order"] for message in bus.published if message.get("event") == "draining"]
    assert draining == [False, True]
