"""A managed process: started again when it dies, not when it was stopped or retired."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest

from services.supervisor.children import KILLED, Child, ChildStartError
from services.supervisor.managed import ManagedProcess, Stage
from services.supervisor.supervisor import Supervisor

pytestmark = pytest.mark.anyio


class FakeChild:
    """Ends when it is told to, with the status it is told."""

    def __init__(self, pid: int, stop_status: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._stop_status = stop_status

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def stop(self, limit_s: float) -> int:
        if not self.ended.done():
            self.ended.set_result(self._stop_status)
        return await self.wait()


class Nursery:
    """Starts fake children and remembers them."""

    def __init__(self, *, stop_status: int = 0, failing_starts: int = 0) -> None:
        self.children: list[FakeChild] = []
        self._born = anyio.Condition()
        self._stop_status = stop_status
        self._failing_starts = failing_starts

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Child]:
        if self._failing_starts:
            self._failing_starts -= 1
            raise ChildStartError("No such file or directory")
        child = FakeChild(100 + len(self.children), self._stop_status)
        async with self._born:
            self.children.append(child)
            self._born.notify_all()
        yield child

    async def child(self, number: int) -> FakeChild:
        """Return the child of that number, from 1, once it has been started."""
        with anyio.fail_after(5):
            async with self._born:
                while len(self.children) < number:
                    await self._born.wait()
        return self.children[number - 1]


async def test_a_process_that_ends_with_status_0_is_started_again() -> None:
    nursery = Nursery()
    async with Supervisor() as supervisor:
        process = ManagedProcess("one", nursery.start, stage=Stage.WORKERS)
        supervisor.add(process)
        (await nursery.child(1)).ended.set_result(0)
        await nursery.child(2)
        assert process.deaths == 1


async def test_a_process_that_cannot_be_started_is_tried_again() -> None:
    nursery = Nursery(failing_starts=2)
    async with Supervisor() as supervisor:
        process = ManagedProcess("one", nursery.start, stage=Stage.WORKERS)
        supervisor.add(process)
        await nursery.child(1)
        assert process.deaths == 2


async def test_a_retired_process_is_not_started_again() -> None:
    nursery = Nursery()
    process = ManagedProcess("one", nursery.start, stage=Stage.WORKERS)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(process.run())
        child = await nursery.child(1)
        process.retire()
        child.ended.set_result(0)
        with anyio.fail_after(5):
            await running
    assert len(nursery.children) == 1


async def test_a_retired_process_is_forgotten() -> None:
    nursery = Nursery()
    changed = asyncio.Event()
    async with Supervisor() as supervisor:
        process = ManagedProcess("one", nursery.start, stage=Stage.WORKERS, changed=changed.set)
        supervisor.add(process)
        child = await nursery.child(1)
        assert supervisor.pids() == {"one": child.pid}
        changed.clear()
        process.retire()
        child.ended.set_result(0)
        with anyio.fail_after(5):
            await changed.wait()
        assert supervisor.pids() == {}


async def test_the_last_change_of_a_process_is_that_it_has_ended_for_good() -> None:
    nursery = Nursery()
    told: list[bool] = []
    process = ManagedProcess("one", nursery.start, stage=Stage.WORKERS, changed=lambda: told.append(process.has_ended))
    async with Supervisor() as supervisor:
        supervisor.add(process)
        (await nursery.child(1)).ended.set_result(0)
        second = await nursery.child(2)
        assert True not in told
        process.retire()
        second.ended.set_result(0)
    assert told[-1]


async def test_a_drain_stops_those_that_ask_before_those_that_answer() -> None:
    ended: list[Stage] = []
    async with Supervisor() as supervisor:
        for stage in reversed(Stage):
            nursery = Nursery()
            supervisor.add(ManagedProcess(stage.name, nursery.start, stage=stage))
            child = await nursery.child(1)
            child.ended.add_done_callback(partial(_note, ended, stage))
        assert await supervisor.drain() == []
    assert ended == [Stage.ORCHESTRATORS, Stage.WORKERS, Stage.ATTENDANTS, Stage.CARRIERS]


async def test_a_drain_names_what_had_to_be_killed() -> None:
    nursery, stubborn = Nursery(), Nursery(stop_status=KILLED)
    async with Supervisor() as supervisor:
        supervisor.add(ManagedProcess("calm", nursery.start, stage=Stage.WORKERS))
        supervisor.add(ManagedProcess("stubborn", stubborn.start, stage=Stage.WORKERS))
        await nursery.child(1)
        await stubborn.child(1)
        assert await supervisor.drain() == ["stubborn"]


async def test_a_stop_ends_the_wait_for_the_next_start() -> None:
    nursery = Nursery()
    waiting = asyncio.Event()

    async def sleep(delay_s: float) -> None:
        if delay_s > 0:
            waiting.set()
            await anyio.sleep_forever()

    async with Supervisor() as supervisor:
        process = ManagedProcess("one", nursery.start, stage=Stage.WORKERS, sleep=sleep)
        supervisor.add(process)
        for number in (1, 2):
            (await nursery.child(number)).ended.set_result(1)
        with anyio.fail_after(5):
            await waiting.wait()
            assert await process.stop()
    assert len(nursery.children) == 2


async def test_a_failure_inside_the_context_stops_everything_and_stays_what_it_was() -> None:
    nursery = Nursery()

    async def fail() -> None:
        async with Supervisor() as supervisor:
            supervisor.add(ManagedProcess("one", nursery.start, stage=Stage.WORKERS))
            await nursery.child(1)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert nursery.children[0].ended.done()


def _note(ended: list[Stage], stage: Stage, _: asyncio.Future[int]) -> None:
    ended.append(stage)
