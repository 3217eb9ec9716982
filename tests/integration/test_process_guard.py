"""A guarded command leaves nothing behind, however it, its guard or its owner ends."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from services.runtime import process_guard
from services.runtime.processes import ProcessStartError, child_environment, guarded_process
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: they differ in what they do with pipes that close."""
    return "asyncio", {"use_uvloop": request.param}


ROOT = Path(__file__).parents[2]

FAMILY = """
import os, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import signal,time; signal.signal(15, 1); time.sleep(600)"],
                              start_new_session=True)
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""
"""Prints its process id and that of a grandchild in a session of its own that does not heed SIGTERM."""

CLOSE_FAMILY = FAMILY.replace("start_new_session=True", "close_fds=True")
"""As `FAMILY`, with a grandchild in the process group of its parent that inherits no descriptor."""

OWNER = """
import asyncio, sys
from services.runtime.processes import guarded_process
async def main():
    async with guarded_process([sys.executable, "-c", sys.argv[1]], pipes=True) as process:
        print(process.pid, (await process.stdout.readline()).decode().strip(), flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def gone(*pids: int) -> None:
    """Return when none of the processes runs any more."""
    await until(lambda: not any(is_running(pid) for pid in pids), timeout_s=5)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_owner(family: str = FAMILY, *, launcher: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start a process that owns a guarded family; its first line names the guard and the family."""
    argv = [*launcher, sys.executable, "-c", OWNER, family]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT)


async def told_pids(owner: subprocess.Popen[bytes]) -> list[int]:
    """Return the ids in the owner's first line."""
    assert owner.stdout is not None
    with anyio.fail_after(10):
        pids = [int(pid) for pid in (await asyncio.to_thread(owner.stdout.readline)).split()]
    assert len(pids) == 3
    return pids


def size(path: Path) -> int:
    return path.stat().st_size


def text(path: Path) -> str:
    return path.read_text()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "stderr.log"


async def test_a_command_speaks_over_its_pipes() -> None:
    async with guarded_process(["cat"], pipes=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        with anyio.fail_after(5):
            assert await process.stdout.readline() == b"hello\n"
            process.stdin.close()
            assert await process.wait() == 0


POLICY = """
import asyncio, sys
from services.runtime.processes import guarded_process
async def main():
    tell = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"]
    async with guarded_process(tell, pipes=True, may_interrupt=sys.argv[1] == "True") as process:
        print((await process.stdout.readline()).decode().strip(), flush=True)
        await process.wait()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("ours", "may_interrupt", "its"),
    [
        ("--batch", True, os.SCHED_OTHER),
        ("--batch", False, os.SCHED_BATCH),
        ("--other", True, os.SCHED_OTHER),
        ("--idle", True, os.SCHED_IDLE),  # an operator's choice
    ],
)
async def test_a_command_is_scheduled_as_ever_although_we_prefer_batches(
    ours: str, may_interrupt: bool, its: int
) -> None:
    owner = ["chrt", ours, "0", sys.executable, "-c", POLICY, str(may_interrupt)]
    told = await anyio.run_process(owner, cwd=ROOT)
    assert int(told.stdout) == its


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137)])
async def test_the_status_of_the_command_is_told(script: str, status: int) -> None:
    async with guarded_process(["sh", "-c", script]) as process:
        with anyio.fail_after(5):
            assert await process.wait() == status


async def test_a_command_that_does_not_exist_is_a_start_error_that_does_not_name_it() -> None:
    with pytest.raises(ProcessStartError) as error:
        async with guarded_process(["/secret/program"]):
            pass
    assert "secret" not in str(error.value)


async def test_a_folder_that_does_not_exist_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessStartError):
        async with guarded_process(["true"], cwd=tmp_path / "nowhere"):
            pass


async def test_the_command_and_its_environment_are_not_in_the_guards_arguments_or_environment() -> None:
    async with guarded_process(["sleep", "600"], env={**os.environ, "TOKEN": "hush"}) as process:
        guard = psutil.Process(process.pid)
        assert "sleep" not in " ".join(guard.cmdline())
        assert "hush" not in "".join(guard.environ().values())
        child = psutil.Process(process.child_pid)
        assert child.cmdline() == ["sleep", "600"]
        assert child.environ()["TOKEN"] == "hush"


async def test_a_child_inherits_little_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUSBAR_KEY", "hush")
    monkeypatch.setenv("LC_TIME", "de_DE")
    environment = child_environment({"MINE": "1"})
    assert "BUSBAR_KEY" not in environment
    assert environment["LC_TIME"] == "de_DE"
    assert environment["MINE"] == "1"
    assert environment["PATH"] == os.environ["PATH"]


async def test_leaving_the_context_ends_the_command_and_grandchildren_in_their_own_session() -> None:
    with anyio.fail_after(10):
        async with guarded_process([sys.executable, "-c", FAMILY], pipes=True, stop_grace_s=0.2) as process:
            assert process.stdout is not None
            pids = [int(pid) for pid in (await process.stdout.readline()).split()]
            assert pids[0] == process.child_pid
        await gone(process.pid, *pids)


async def test_what_a_command_leaves_running_is_killed_when_it_ends() -> None:
    script = "setsid sleep 600 & echo $!"
    with anyio.fail_after(10):
        async with guarded_process(["sh", "-c", script], pipes=True) as process:
            assert process.stdout is not None
            orphan = int(await process.stdout.readline())
            assert await process.wait() == 0
            await gone(orphan)


async def test_a_command_that_heeds_sigterm_has_time_to_finish(log_path: Path) -> None:
    script = "trap 'echo bye >&2; exit 5' TERM; echo up; while :; do sleep 0.01; done"
    with anyio.fail_after(10):
        async with guarded_process(["sh", "-c", script], pipes=True, log_path=log_path) as process:
            assert process.stdout is not None
            await process.stdout.readline()
            assert await process.terminate(grace_s=5) == 5
    assert "bye" in text(log_path)


async def test_a_command_that_does_not_heed_sigterm_is_killed_after_its_grace() -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.01; done"
    with anyio.fail_after(10):
        async with guarded_process(["sh", "-c", script], pipes=True) as process:
            assert process.stdout is not None
            await process.stdout.readline()
            assert await process.terminate(grace_s=0.1) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_left_when_the_owner_is_killed(number: int) -> None:
    owner = start_owner()
    try:
        pids = await told_pids(owner)
        owner.send_signal(number)
        await gone(*pids)
    finally:
        owner.kill()
        owner.communicate()


async def test_the_command_and_its_group_die_when_the_guard_is_killed() -> None:
    script = "sleep 600 & echo $!; wait"
    with anyio.fail_after(10):
        async with guarded_process(["sh", "-c", script], pipes=True) as process:
            assert process.stdout is not None
            grandchild = int(await process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
            await gone(process.child_pid, grandchild)


async def test_the_command_and_its_group_die_when_owner_and_guard_are_killed_at_once() -> None:
    """Seen to fail without the tripwire: the grandchild lived on."""
    owner = start_owner(CLOSE_FAMILY)
    pids: list[int] = []
    try:
        pids = await told_pids(owner)
        os.kill(pids[0], signal.SIGSTOP)
        owner.kill()
        os.kill(pids[0], signal.SIGKILL)
        await gone(*pids)
    finally:
        owner.kill()
        owner.communicate()
        for pid in pids:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


async def test_a_command_inherits_nothing_of_the_guard_but_its_streams_and_the_tripwire() -> None:
    # Whoever held the other end of the tripwire would keep it from ever being told that the guard has died.
    script = "import os; print(*(fd for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')))"
    async with guarded_process([sys.executable, "-I", "-S", "-c", script], pipes=True) as process:
        assert process.stdout is not None
        with anyio.fail_after(5):
            descriptors = {int(number) for number in (await process.stdout.readline()).split()}
    assert descriptors == {0, 1, 2, process_guard.TRIPWIRE_FD}


async def test_a_command_is_started_also_where_no_descriptor_of_that_number_may_be_open() -> None:
    limit = process_guard.TRIPWIRE_FD
    owner = start_owner(launcher=("sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh"))
    try:
        pids = await told_pids(owner)
        owner.kill()
        await gone(*pids)
    finally:
        owner.kill()
        owner.communicate()


async def test_stderr_is_kept_in_a_private_file_of_bounded_size(log_path: Path) -> None:
    script = (
        "i=0; while [ $i -lt 3000 ]; do echo 01234567890123456789012345678901234567; i=$((i+1)); done >&2; echo end >&2"
    )
    async with guarded_process(["sh", "-c", script], log_path=log_path, log_bytes=50_000) as process:
        with anyio.fail_after(10):
            await process.wait()
    older = log_path.with_name(log_path.name + ".1")
    assert text(log_path).endswith("\nend\n")
    assert mode(log_path) == 0o600
    assert 0 < size(log_path) <= 50_000
    assert 0 < size(older) <= 50_000


async def test_stdout_goes_to_the_log_when_it_is_no_pipe(log_path: Path) -> None:
    async with guarded_process(["echo", "out"], log_path=log_path) as process:
        with anyio.fail_after(5):
            await process.wait()
    assert text(log_path) == "out\n"


async def test_many_restarts_leave_no_descriptor_and_no_process() -> None:
    async def once() -> None:
        async with guarded_process(["sh", "-c", "exit 1"], pipes=True) as process:
            await process.wait()

    await once()
    us = psutil.Process()
    before, children = us.num_fds(), us.children()
    with anyio.fail_after(60):
        for _ in range(50):
            await once()
    assert us.num_fds() == before
    assert us.children() == children


async def test_cancelling_the_owner_while_it_waits_ends_the_command() -> None:
    pids: list[int] = []
    started = anyio.Event()

    async def own() -> None:
        async with guarded_process(["sleep", "600"]) as process:
            pids.extend([process.pid, process.child_pid])
            started.set()
            await process.wait()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(own)
            await started.wait()
            group.cancel_scope.cancel()
    await gone(*pids)


async def test_being_cancelled_at_any_moment_of_the_start_leaves_nothing() -> None:
    async def own(command: str = "sleep") -> None:
        async with guarded_process([command, "600"], pipes=True) as process:
            await process.wait()

    await own("true")
    us = psutil.Process()
    before, children = us.num_fds(), us.children()
    for turns in range(12):
        owner = asyncio.ensure_future(own())
        for _ in range(turns):
            await asyncio.sleep(0)
        owner.cancel()
        with anyio.fail_after(5):
            await asyncio.wait([owner])
    # A loop may close what the first run had a moment later.
    await until(lambda: us.num_fds() <= before and us.children() == children)
