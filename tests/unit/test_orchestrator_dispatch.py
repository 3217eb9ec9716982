"""What becomes of calls in flight when a worker is gone: it matters how it went."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from bus_schemas.calls import ChunkHeaders, ErrorHeaders, ResultHeaders, accepted_headers, progress_headers
from bus_schemas.errors import ErrorCode
from services.orchestrator import dispatch
from services.orchestrator.dispatch import Call, Dispatcher, UnheardError, WorkerFailedError
from services.runtime.bus import Bus, BusMessage, Inbox
from services.runtime.errors import DeadlineExceededError, MaybeExecutedError, OverloadedError, UpstreamError
from services.runtime.fleet import Fleet
from tests.support.announced import AnnouncedFleet
from tests.support.waiting import until
from tests.unit.test_orchestrator_admission import admission

pytestmark = pytest.mark.anyio

PARTS = b"x" * 60, b"y" * 40


class Exchange:
    """Replies that the test gives."""

    reply_to = "inbox"

    def __init__(self) -> None:
        self._replies: asyncio.Queue[BusMessage | Exception] = asyncio.Queue()

    async def next(self) -> BusMessage:
        reply = await self._replies.get()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def fail(self, error: Exception) -> None:
        self._replies.put_nowait(error)

    def accept(self, instance: str) -> None:
        self._replies.put_nowait(BusMessage(cast("Any", None), subject="", headers=accepted_headers(instance)))

    def error(self, instance: str, code: ErrorCode = ErrorCode.UPSTREAM_ERROR) -> None:
        told = ErrorHeaders(instance, code, "maybe").encode()
        self._replies.put_nowait(BusMessage(cast("Any", None), subject="", headers=told))

    def progress(self, params: bytes) -> None:
        told = BusMessage(cast("Any", None), subject="", data=params, headers=progress_headers("i1"))
        self._replies.put_nowait(told)

    def garbage(self) -> None:
        told = {**ResultHeaders("i1", 0, 0).encode(), "mcp-queue-us": "soon"}
        self._replies.put_nowait(BusMessage(cast("Any", None), subject="", data=b"{}", headers=told))

    def part(self, chunk: int, *, digest_of: bytes = b"".join(PARTS)) -> None:
        """Give the first or the second part of a large result."""
        sha256 = hashlib.sha256(digest_of).hexdigest()
        told = ChunkHeaders(ResultHeaders("i1", 0, 0), chunk, len(PARTS), sha256).encode()
        self._replies.put_nowait(BusMessage(cast("Any", None), subject="", data=PARTS[chunk - 1], headers=told))

    def result(self) -> None:
        told = ResultHeaders("i1", 0, 0).encode()
        self._replies.put_nowait(BusMessage(cast("Any", None), subject="", data=b"{}", headers=told))


class World:
    """A dispatcher, two workers of one version, and the call that is in flight."""

    def __init__(self) -> None:
        self.now = 0.0
        self.announced = AnnouncedFleet()
        self.announced.fleet = Fleet(cast("Any", SimpleNamespace(connected=True)), cast("Any", None), lambda: self.now)
        self.exchange = Exchange()
        self.sent: list[Mapping[str, str]] = []
        self.bus = SimpleNamespace(publish=self._publish, publish_at_once=self._publish_at_once, connected=True)
        inbox = SimpleNamespace(expect=self._expect)
        self.admission = admission(held_bytes=len(PARTS[0]))
        self.dispatcher = Dispatcher(cast("Bus", self.bus), cast("Inbox", inbox), self.announced.fleet, self.admission)

    @contextmanager
    def _expect(self) -> Iterator[Exchange]:
        yield self.exchange

    def _publish_at_once(self, *_: Any, headers: Mapping[str, str], **__: Any) -> bool:
        self.sent.append(headers)
        return True

    async def _publish(self, *_: Any, **__: Any) -> None:
        """Take what tells that a call is cancelled."""

    @asynccontextmanager
    async def call(
        self, on_progress: Callable[[bytes], None] | None = None, *, timeout_s: float = 60
    ) -> AsyncIterator[asyncio.Task[Any]]:
        deadline = time.monotonic() + timeout_s
        call = Call("a", "1.0.0", b"{}", "id", 1, "p", deadline, on_progress=on_progress)
        task = asyncio.create_task(self.dispatcher.call(call))
        await until(lambda: self.dispatcher.in_flight == 1)
        yield task
        task.cancel()
        await asyncio.wait([task])

    async def accept(self, instance: str) -> None:
        self.exchange.accept(instance)
        [flight] = self.dispatcher._flights
        await until(lambda: flight.holder == instance)

    def fall_silent(self) -> None:
        """Let every worker be silent for too long."""
        for _ in range(20):
            self.now += 0.25
            self.announced.fleet.bury_silent()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(dispatch, "_MARGIN_S", -1)  # every call is long in flight
    return World()


async def settled(task: asyncio.Task[Any]) -> bool:
    """Whether the call ends without further words."""
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def test_a_call_that_nobody_has_acknowledged_outlives_a_worker_that_leaves(world: World) -> None:
    leaving = await world.announced.join("a")
    async with world.call() as task:
        await world.announced.leave(leaving)
        assert not await settled(task)


async def test_a_call_that_nobody_has_acknowledged_fails_with_a_worker_that_falls_silent(world: World) -> None:
    await world.announced.join("a")
    async with world.call() as task:
        world.fall_silent()
        with anyio.fail_after(5), pytest.raises(WorkerFailedError):
            await task


async def test_a_silent_worker_of_another_server_takes_no_call_with_it(world: World) -> None:
    await world.announced.join("b")
    async with world.call() as task:
        world.fall_silent()
        assert not await settled(task)


async def test_a_call_fails_with_the_worker_that_acknowledged_it_and_fell_silent(world: World) -> None:
    holder = await world.announced.join("a")
    async with world.call() as task:
        await world.accept(holder.instance)
        world.fall_silent()
        with anyio.fail_after(5), pytest.raises(WorkerFailedError):
            await task


async def test_a_call_whose_worker_has_left_waits_for_the_result_that_is_on_its_way(world: World) -> None:
    holder = await world.announced.join("a")
    async with world.call() as task:
        await world.accept(holder.instance)
        await world.announced.leave(holder)
        assert not await settled(task)


async def test_a_call_that_another_has_acknowledged_goes_on(world: World) -> None:
    leaving = await world.announced.join("a")
    async with world.call() as task:
        await world.accept("another")
        await world.announced.leave(leaving)
        world.fall_silent()
        assert not await settled(task)


async def test_progress_is_given_in_order_to_who_wants_it(world: World) -> None:
    told: list[bytes] = []
    async with world.call(told.append) as task:
        assert [headers["mcp-progress"] for headers in world.sent] == ["1"]
        for params in (b'{"progress":1}', b'{"progress":2}'):
            world.exchange.progress(params)
        world.exchange.result()
        with anyio.fail_after(5):
            assert (await task).result == b"{}"
    assert told == [b'{"progress":1}', b'{"progress":2}']


async def test_progress_that_nobody_wants_is_not_asked_for_and_passed_over(world: World) -> None:
    async with world.call() as task:
        assert "mcp-progress" not in world.sent[0]
        world.exchange.progress(b"{}")
        world.exchange.result()
        with anyio.fail_after(5):
            assert (await task).result == b"{}"


async def test_progress_does_not_move_the_deadline(world: World) -> None:
    told: list[bytes] = []

    def tell_again(params: bytes) -> None:
        told.append(params)
        asyncio.get_running_loop().call_later(0.01, world.exchange.progress, params)

    async with world.call(tell_again, timeout_s=0.1) as task:
        world.exchange.progress(b"{}")
        with anyio.fail_after(5), pytest.raises(DeadlineExceededError):
            await task
    assert told


async def failure(task: asyncio.Task[Any]) -> MaybeExecutedError:
    """The error with which the call ends."""
    with anyio.fail_after(5), pytest.raises(MaybeExecutedError) as caught:
        await task
    return caught.value


async def test_a_server_that_fails_is_told_from_a_worker_whose_drain_is_over(world: World) -> None:
    worker = await world.announced.join("a")
    async with world.call() as task:
        world.exchange.error(worker.instance)
        error = await failure(task)
        assert (type(error), error.holder) == (UpstreamError, worker.instance)
    await world.announced.drain(worker)
    async with world.call() as task:
        world.exchange.error(worker.instance)
        error = await failure(task)
        assert (type(error), error.holder) == (WorkerFailedError, worker.instance)


async def test_a_worker_that_breaks_our_protocol_is_told_from_its_server(world: World) -> None:
    async with world.call() as task:
        world.exchange.garbage()
        assert type(await failure(task)) is WorkerFailedError


async def test_a_timeout_that_a_worker_tells_names_it(world: World) -> None:
    async with world.call() as task:
        world.exchange.error("i1", ErrorCode.TIMEOUT)
        error = await failure(task)
        assert (type(error), error.holder) == (DeadlineExceededError, "i1")


async def test_a_deadline_that_passes_at_a_worker_that_is_heard_is_held_against_its_server(world: World) -> None:
    worker = await world.announced.join("a")
    async with world.call(timeout_s=0.2) as task:
        await world.accept(worker.instance)
        error = await failure(task)
        assert (type(error), error.holder) == (DeadlineExceededError, worker.instance)


async def test_a_deadline_that_passes_at_a_worker_that_has_not_been_heard_for_a_while_is_not(world: World) -> None:
    worker = await world.announced.join("a")
    async with world.call(timeout_s=0.2) as task:
        await world.accept(worker.instance)
        world.now += 2.1
        assert type(await failure(task)) is UnheardError


async def test_a_deadline_that_passes_while_the_bus_is_away_is_not(world: World) -> None:
    worker = await world.announced.join("a")
    async with world.call(timeout_s=0.2) as task:
        await world.accept(worker.instance)
        world.bus.connected = False
        assert type(await failure(task)) is UnheardError


async def test_a_deadline_that_passes_though_no_worker_has_acknowledged_the_call_is_not(world: World) -> None:
    await world.announced.join("a")
    async with world.call(timeout_s=0.1) as task:
        assert type(await failure(task)) is UnheardError


async def test_a_deadline_that_passes_before_a_worker_would_have_acknowledged_the_call_is_held_against_its_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_MARGIN_S", 60)
    await world.announced.join("a")
    async with world.call(timeout_s=0.1) as task:
        assert type(await failure(task)) is DeadlineExceededError


async def test_the_parts_of_a_large_result_count_as_held_until_it_is_whole(world: World) -> None:
    async with world.call() as task:
        world.exchange.part(1)
        await until(lambda: world.admission.held_bytes == len(PARTS[0]))
        with pytest.raises(OverloadedError):
            world.admission.check()
        world.exchange.part(2)
        with anyio.fail_after(5):
            assert (await task).result == b"".join(PARTS)
        assert world.admission.held_bytes == 0


ENDINGS: dict[str, Callable[[World, asyncio.Task[Any]], object]] = {
    "an error of the server": lambda world, _: world.exchange.error("i1"),
    "parts that the digest does not fit": lambda world, _: world.exchange.part(2, digest_of=b"another"),
    "garbage": lambda world, _: world.exchange.garbage(),
    "its worker falls silent": lambda world, _: world.fall_silent(),
    "its caller goes away": lambda _, task: task.cancel(),
    "its deadline": lambda *_: None,
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
async def test_the_parts_of_a_large_result_that_is_never_whole_are_held_no_longer_than_its_call(
    world: World, end: Callable[[World, asyncio.Task[Any]], object]
) -> None:
    await world.announced.join("a")
    async with world.call(timeout_s=0.5) as task:
        world.exchange.part(1)
        await until(lambda: world.admission.held_bytes == len(PARTS[0]))
        end(world, task)
        with anyio.fail_after(5):
            await asyncio.wait([task])
        assert task.cancelled() or task.exception() is not None
        assert world.admission.held_bytes == 0


async def test_a_call_that_has_to_wait_for_the_bus_is_sent_all_the_same() -> None:
    world = World()
    waited: list[bytes] = []

    async def publish(_subject: str, payload: bytes, **_: Any) -> None:
        waited.append(payload)

    world.bus.publish_at_once = lambda *_, **__: False
    world.bus.publish = publish
    async with world.call() as task:
        await until(lambda: waited == [b"{}"])
        world.exchange.result()
        assert (await task).result == b"{}"


async def test_a_call_that_the_bus_does_not_take_ends_with_its_deadline() -> None:
    world = World()

    async def publish(_subject: str, payload: bytes, **_: Any) -> None:
        if payload == b"{}":
            await asyncio.Event().wait()

    world.bus.publish_at_once = lambda *_, **__: False
    world.bus.publish = publish
    async with world.call(timeout_s=0.05) as task:
        with pytest.raises(DeadlineExceededError):
            await task
