"""Services forked from the cradle: what they are given, how they end, and what becomes of them when the cradle dies."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from services.runtime.lifecycle import LIFELINE_FD
from services.supervisor.children import Child, ChildStartError, lifeline
from services.supervisor.nursery import Birth, Nursery, open_nursery
from tests.support.processes import REPOSITORY
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture(autouse=True)
def find_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cradle import what is not installed."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


@pytest.fixture
def line() -> Iterator[int]:
    with lifeline() as descriptor:
        yield descriptor


def birth(folder: Path, line: int, *arguments: str, imports: tuple[str, ...] = ("json",)) -> Birth:
    return Birth(
        name="born-1",
        module="tests.support.born",
        arguments=arguments,
        imports=imports,
        environment={"BUSBAR_X": "1"},
        lifeline=line,
        log_path=folder / "born.log",
    )


async def told(folder: Path) -> dict[str, Any]:
    """Return what the newest service has told of itself."""
    log = folder / "born.log"
    await until(lambda: log.exists() and log.read_text().endswith("\n"))
    about: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return about


async def ended(child: Child) -> int:
    with anyio.fail_after(10):
        return await child.wait()


async def test_a_service_gets_its_arguments_its_environment_and_nothing_else(
    tmp_path: Path, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUSBAR_ADMIN_KEY", "planted")
    with open_nursery(tmp_path / "cradle.log") as nursery:
        async with nursery.child(birth(tmp_path, line)) as child:
            about = await told(tmp_path)
            environment = about["environment"]
            assert int(environment.pop(LIFELINE_FD)) > 2
            assert environment == {"BUSBAR_X": "1"}
            assert about["arguments"] == []
            assert about["session"] == child.pid
            assert psutil.Process(child.pid).name() == "born-1"
            assert "planted" not in str(psutil.Process(about["parent"]).environ())
            assert await child.stop(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize("status", [0, 3])
async def test_a_service_ends_with_its_own_status(tmp_path: Path, line: int, status: int) -> None:
    with open_nursery(tmp_path / "cradle.log") as nursery:
        async with nursery.child(birth(tmp_path, line, str(status))) as child:
            assert await ended(child) == status


async def test_a_service_that_is_killed_is_told_as_killed(tmp_path: Path, line: int) -> None:
    with open_nursery(tmp_path / "cradle.log") as nursery:
        async with nursery.child(birth(tmp_path, line)) as child:
            os.kill(child.pid, signal.SIGKILL)
            assert await ended(child) == 128 + signal.SIGKILL


async def test_a_service_does_not_outlive_its_context(tmp_path: Path, line: int) -> None:
    with open_nursery(tmp_path / "cradle.log") as nursery:
        async with nursery.child(birth(tmp_path, line)) as child:
            await told(tmp_path)
        assert not psutil.pid_exists(child.pid)


async def test_services_outlive_the_cradle_and_the_next_one_comes_from_another(tmp_path: Path, line: int) -> None:
    with open_nursery(tmp_path / "cradle.log") as nursery:
        async with nursery.child(birth(tmp_path, line)) as first:
            cradle = (await told(tmp_path))["parent"]
            os.kill(cradle, signal.SIGKILL)
            second_cradle = await _another(nursery, tmp_path, line, than=cradle)
            assert psutil.pid_exists(first.pid)
            survivor = psutil.Process(first.pid)
            assert await first.stop(5) != 0
            assert not survivor.is_running() or survivor.status() == psutil.STATUS_ZOMBIE  # for init to collect
    assert not psutil.pid_exists(second_cradle)


async def test_what_cannot_be_imported_is_left_to_the_service_to_tell(tmp_path: Path, line: int) -> None:
    with open_nursery(tmp_path / "cradle.log") as nursery:
        async with nursery.child(birth(tmp_path, line, "0", imports=("no_such_module",))) as child:
            assert await ended(child) == 0
        lacking = replace(birth(tmp_path, line), module="no_such_module")
        async with nursery.child(lacking) as child:
            assert await ended(child) == 1
    assert "no_such_module" in (tmp_path / "born.log").read_text()


async def _another(nursery: Nursery, folder: Path, line: int, *, than: int) -> int:
    """Start services until one comes from another cradle; return that one's id."""
    with anyio.fail_after(10):
        while True:
            try:
                async with nursery.child(birth(folder, line)) as child:
                    parent = psutil.Process(child.pid).ppid()
                    if parent != than:
                        return parent
            except ChildStartError:
                await anyio.sleep(0.05)
