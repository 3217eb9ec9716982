"""The calls that a worker holds: none is leaked, and who holds a long one is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from bus_schemas.calls import CallHeaders, CancelCall
from bus_schemas.envelope import KIND, Kind
from services.runtime.bus import Bus, BusAwayError, BusMessage
from services.runtime.errors import UpstreamError
from services.worker import consumer as consumer_module
from services.worker.consumer import CallConsumer
from services.worker.execution import Executed, Execution
from services.worker.mcp.session import DEAF, Hearing
from services.worker.replies import Replies
from services.worker.returns import Returns
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class FakeBus:
    """Keeps what is published while it is there, and hands over what the test sends."""

    inbox_prefix = "_INBOX_worker.i"

    def __init__(self) -> None:
        self.is_there = True
        self.asked_in_vain = 0
        self.published: list[str] = []
        self.bodies: list[bytes] = []
        self.take: Any = None

    @property
    def connected(self) -> bool:
        self.asked_in_vain += not self.is_there
        return self.is_there

    async def receive(self, _subject: str, take: Any, *, queue: str = "") -> None:
        self.take = take

    async def fence(self) -> None:
        pass

    def publish_at_once(self, _subject: str, body: bytes, *, headers: Mapping[str, str], reply: str = "") -> bool:
        if not self.connected:
            raise BusAwayError
        self.published.append(headers[KIND])
        self.bodies.append(body)
        return True

    async def publish(self, subject: str, body: bytes, *, headers: Mapping[str, str], reply: str = "") -> None:
        self.publish_at_once(subject, body, headers=headers, reply=reply)


class EndlessExecution:
    """Calls that end only when they are cancelled."""

    def __init__(self) -> None:
        self.began = 0

    async def run(self, *_: object) -> None:
        self.began += 1
        await asyncio.Event().wait()


class TellingExecution:
    """Calls whose server tells of its progress if asked, again when its answer has come, and one of them fails."""

    def __init__(self) -> None:
        self.hearing = DEAF
        self.error: Exception | None = None

    async def run(self, _body: bytes, _headers: CallHeaders, _deadline: float, hearing: Hearing = DEAF) -> Executed:
        self.hearing = hearing
        for number in range(1, 4):
            if hearing.progress is not None:
                hearing.progress(b'{"progressToken":7,"progress":%d}' % number)
        if self.error is not None:
            raise self.error
        return Executed(b"{}", 0, 0)


class Worker:
    """A consumer that takes calls, and what is around it."""

    def __init__(self, execution: Any = None) -> None:
        self.bus = FakeBus()
        self.execution = execution or EndlessExecution()
        bus = cast("Bus", self.bus)
        replies = Replies(bus, bus, Returns(bus), instance="i", most_undelivered_bytes=1)
        self.consumer = CallConsumer(
            bus, cast("Execution", self.execution), replies, server="a", version="1", instance="i"
        )

    async def call(self, request_id: str, *, wants_progress: bool = False) -> None:
        headers = CallHeaders(
            request_id,
            timeout_ms=60_000,
            sent_at_ms=int(time.time() * 1000),
            attempt=1,
            principal="p",
            wants_progress=wants_progress,
        )
        nobody = cast("Any", None)
        self.bus.take(BusMessage(nobody, subject="call", reply="inbox.1", data=b"{}", headers=headers.encode()))

    async def cancel(self, request_id: str) -> None:
        message = CancelCall(request_id=request_id, attempt=1)
        await self.consumer.take_cancel(BusMessage(cast("Any", None), subject="cancel", data=message.encode()))


@asynccontextmanager
async def taking_calls(execution: Any = None) -> AsyncIterator[Worker]:
    worker = Worker(execution)
    await worker.consumer.open()
    acknowledging = asyncio.create_task(worker.consumer.acknowledge_held())
    try:
        yield worker
    finally:
        acknowledging.cancel()
        await worker.consumer.finish(0)
        await asyncio.wait([acknowledging])


async def test_calls_that_are_cancelled_before_they_begin_are_not_kept() -> None:
    async with taking_calls() as worker:
        for number in range(50):
            await worker.call(str(number))
            await worker.cancel(str(number))
        assert worker.execution.began == 0
        await until(lambda: worker.consumer.in_flight == 0, timeout_s=5)

        await worker.call("one more")
        assert worker.consumer.in_flight == 1


async def test_a_call_that_is_cancelled_while_it_runs_is_not_kept() -> None:
    async with taking_calls() as worker:
        await worker.call("1")
        await until(lambda: worker.execution.began == 1)
        await worker.cancel("1")
        await until(lambda: worker.consumer.in_flight == 0, timeout_s=5)
        assert worker.bus.published == [Kind.ERROR]


async def test_who_holds_a_call_is_told_once_and_as_soon_as_the_bus_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "_ACCEPT_AFTER_S", 0.001)
    async with taking_calls() as worker:
        worker.bus.is_there = False
        await worker.call("1")
        await until(lambda: worker.bus.asked_in_vain)
        worker.bus.is_there = True
        await until(lambda: worker.bus.published)
        await worker.call("2")
        await until(lambda: len(worker.bus.published) > 1)
        assert worker.bus.published == [Kind.ACCEPTED] * 2


async def test_progress_goes_to_who_wants_it_before_the_outcome_and_never_after() -> None:
    execution = TellingExecution()
    async with taking_calls(execution) as worker:
        await worker.call("1", wants_progress=True)
        await until(lambda: worker.consumer.in_flight == 0)
        assert execution.hearing.progress is not None
        execution.hearing.progress(b'{"progressToken":7,"progress":4}')
        execution.error = UpstreamError()
        await worker.call("2", wants_progress=True)
        await until(lambda: worker.consumer.in_flight == 0)
    words = [b'{"progress":1}', b'{"progress":2}', b'{"progress":3}']
    assert worker.bus.published == [*[Kind.PROGRESS] * 3, Kind.RESULT, *[Kind.PROGRESS] * 3, Kind.ERROR]
    assert worker.bus.bodies == [*words, b"{}", *words, b""]


async def test_a_server_is_not_asked_for_progress_that_nobody_wants() -> None:
    execution = TellingExecution()
    async with taking_calls(execution) as worker:
        await worker.call("1")
        await until(lambda: worker.consumer.in_flight == 0)
    assert execution.hearing.progress is None
    assert worker.bus.published == [Kind.RESULT]


async def test_progress_is_dropped_while_the_bus_is_away_and_the_answer_is_not() -> None:
    execution = TellingExecution()
    async with taking_calls(execution) as worker:
        worker.bus.is_there = False
        await worker.call("1", wants_progress=True)
        await until(lambda: worker.bus.asked_in_vain > 2)
        worker.bus.is_there = True
        await until(lambda: worker.consumer.in_flight == 0)
    assert worker.bus.published[-1] == Kind.RESULT
    assert Kind.PROGRESS not in worker.bus.published
