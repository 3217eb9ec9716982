"""A call that only one worker may answer: where it is sent, and with whom it fails."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from services.orchestrator.dispatch import Call, Dispatcher, NobodyThereError
from services.runtime.bus import Bus, Inbox
from services.runtime.bus.inbox import NoRespondersError
from services.runtime.errors import UpstreamError
from services.runtime.fleet import Fleet
from tests.support.announced import AnnouncedFleet
from tests.unit.test_orchestrator_admission import admission

pytestmark = pytest.mark.anyio


class Exchange:
    """Replies only with errors."""

    reply_to = "inbox"

    def __init__(self) -> None:
        self._errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.fail = self._errors.put_nowait

    async def next(self) -> Any:
        raise await self._errors.get()


class World:
    """Two workers of one version; a call that is for the first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.announced = AnnouncedFleet()
        self.announced.fleet = Fleet(cast("Any", SimpleNamespace(connected=True)), cast("Any", None), lambda: self.now)
        self.exchange = Exchange()
        self.sent = asyncio.Event()
        self.subject = ""
        bus, inbox = SimpleNamespace(publish_at_once=self._publish), SimpleNamespace(expect=self._expect)
        self._dispatcher = Dispatcher(cast("Bus", bus), cast("Inbox", inbox), self.announced.fleet, admission())

    @contextmanager
    def _expect(self) -> Iterator[Exchange]:
        yield self.exchange

    def _publish(self, subject: str, *_: Any, **__: Any) -> bool:
        self.subject = subject
        self.sent.set()
        return True

    async def call(self, instance: str) -> asyncio.Task[Any]:
        call = Call("a", "1.0.0", b"{}", "id", 1, "p", time.monotonic() + 60, instance=instance)
        task = asyncio.create_task(self._dispatcher.call(call))
        with anyio.fail_after(5):
            await self.sent.wait()
        return task

    async def bury_all_but(self, *living: Any) -> None:
        """Let so much time pass that who is not heard meanwhile is dead."""
        for _ in range(8):
            self.now += 0.5
            for worker in living:
                await self.announced.beat(worker)
            self.announced.fleet.bury_silent()


async def test_it_is_sent_to_the_workers_own_subject_and_nobody_there_is_told_apart() -> None:
    world = World()
    call = await world.call("i1")
    assert world.subject == "mcp.v1.call.a.1_0_0.i1"
    world.exchange.fail(NoRespondersError())
    with pytest.raises(NobodyThereError), anyio.fail_after(5):
        await call


async def test_it_fails_with_its_worker_and_with_no_other() -> None:
    world = World()
    own, other = await world.announced.join("a"), await world.announced.join("a")
    call = await world.call(own.instance)
    await world.bury_all_but(own)
    assert {worker.report.instance for worker in world.announced.fleet.workers()} == {own.instance}
    await asyncio.sleep(0)
    assert not call.done()
    await world.announced.beat(other)
    await world.bury_all_but(other)
    with pytest.raises(UpstreamError), anyio.fail_after(5):
        await call
