"""The life of a process: what ends it, with which status, and in which order."""

import asyncio
import logging
import os
import signal

import anyio
import pytest

from services.runtime.lifecycle import LIFELINE_FD, Lifecycle, end_task, new_instance_id

pytestmark = pytest.mark.anyio


async def fail() -> None:
    raise ValueError("a secret text")


async def end() -> None:
    pass


async def test_a_background_task_that_fails_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(5):
        async with Lifecycle() as life:
            life.start(fail(), name="census")
            await life.stopping.wait()
    assert life.status == 1
    (record,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert record.message == "background task failed"
    assert vars(record)["task"] == "census"


async def test_a_background_task_that_ends_by_itself_ends_nothing() -> None:
    async with Lifecycle() as life:
        life.start(end(), name="short")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not life.stopping.is_set()


async def test_the_first_bad_status_stays() -> None:
    life = Lifecycle()
    life.stop()
    assert life.stopping.is_set()
    assert life.status == 0
    life.stop(status=3)
    life.stop(status=4)
    life.stop()
    assert life.status == 3


async def test_background_tasks_end_in_reverse_order_each_before_the_next() -> None:
    events: list[str] = []

    async def loop(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append(f"{name} ends")
            await asyncio.sleep(0)
            events.append(f"{name} has ended")

    with anyio.fail_after(5):
        async with Lifecycle() as life:
            life.start(loop("first"), name="first")
            life.start(loop("second"), name="second")
            await asyncio.sleep(0)
    assert events == ["second ends", "second has ended", "first ends", "first has ended"]
    assert life.status == 0


async def test_a_task_that_fails_at_its_end_is_logged_and_changes_no_status(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    with anyio.fail_after(5):
        async with Lifecycle() as life:
            life.start(fail_at_the_end(), name="late")
            await asyncio.sleep(0)
    assert not life.stopping.is_set()
    assert "background task failed at its end" in [record.message for record in caplog.records]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_in_order(number: signal.Signals) -> None:
    with anyio.fail_after(5):
        async with Lifecycle() as life:
            life.obey_signals()
            os.kill(os.getpid(), number)
            await life.stopping.wait()
            assert life.status == 0
    asyncio.get_running_loop().remove_signal_handler(number)


async def test_the_end_of_the_supervisor_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, supervisors = os.pipe()
    os.set_inheritable(ours, True)
    monkeypatch.setenv(LIFELINE_FD, str(ours))
    with anyio.fail_after(5):
        async with Lifecycle() as life:
            life.obey_signals()
            assert not os.get_inheritable(ours), "our children would hold the lifeline open"
            assert LIFELINE_FD not in os.environ
            assert not life.stopping.is_set()
            os.close(supervisors)
            await life.stopping.wait()
            assert life.status == 0
    os.close(ours)


def test_instances_have_names_that_fit_a_subject_and_differ() -> None:
    names = {new_instance_id() for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) == 12 and name.isalnum() and name.islower() | name.isdigit() for name in names)


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    async def stubborn() -> None:
        swallowed = 0
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    with anyio.fail_after(5):
        await end_task(task, cleanup_s=0.01)
