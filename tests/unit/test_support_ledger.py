"""A ledger line is on the disk when `note()` returns, and a slow disk does not hold up the event loop."""

import os
import threading
from pathlib import Path

import anyio
import pytest

from tests.support.ledger import Ledger
from tests.support.records import read_ledger
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_noted_line_is_in_the_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    await ledger.note("q", "start")
    (line,) = read_ledger(tmp_path / "ledger")
    assert (line.id, line.event, line.pid) == ("q", "start", os.getpid())
    ledger.close()


async def test_a_call_waits_for_the_sync_of_its_line_and_the_event_loop_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_is_free, sync = threading.Event(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (disk_is_free.wait(), sync(file)))
    ledger = Ledger(tmp_path / "ledger")
    noted: list[str] = []

    async def note(id_: str) -> None:
        await ledger.note(id_, "start")
        noted.append(id_)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            calls.start_soon(note, "first")
            await until(lambda: list(read_ledger(tmp_path / "ledger")))
            assert noted == []
            disk_is_free.set()
        assert noted == ["first"]
    ledger.close()


async def test_many_lines_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_is_free, sync, syncs = threading.Event(), os.fsync, []

    def counted(file: int) -> None:
        disk_is_free.wait()
        syncs.append(file)
        sync(file)

    monkeypatch.setattr(os, "fsync", counted)
    ledger = Ledger(tmp_path / "ledger")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as calls:
            for number in range(100):
                calls.start_soon(ledger.note, f"q{number}", "start")
            await anyio.wait_all_tasks_blocked()
            disk_is_free.set()
    ledger.close()
    assert len(list(read_ledger(tmp_path / "ledger"))) == 100
    # One with what the thread found first, one with what came meanwhile, one on closing.
    assert len(syncs) <= 3


async def test_a_cancelled_call_does_not_keep_the_others_from_their_lines(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with anyio.CancelScope() as gone:
        gone.cancel()
        await ledger.note("gone", "start")
    with anyio.fail_after(5):
        await ledger.note("stays", "start")
    ledger.note_cancelled("gone")
    ledger.close()
    assert [(line.id, line.event) for line in read_ledger(tmp_path / "ledger")] == [
        ("gone", "start"),
        ("stays", "start"),
        ("gone", "cancelled"),
    ]
