"""Whoever of us is killed, no server outlives it, and a server that crashes for ever leaves nothing behind."""

import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from services.runtime import process_guard
from tests.strangers.strangers import LOOPBACK, NODE, STRANGERS
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY, descendants, python_process
from tests.support.system import System, system
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

GONE_S = 25.0
"""Five times what is promised: machines of CI are slow."""

MARK = {"PROCESS_OF_TEST": "${PROCESS_OF_TEST}"}
"""Servers get little of our environment; by this they are found wherever they have gone."""


def ledger_command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.ledger_server", "--ledger", str(folder / "ledger"), *arguments]


def servers_below_a_shell(folder: Path, port: int) -> dict[str, Any]:
    def below_a_shell(*arguments: str) -> dict[str, Any]:
        # With a helper that does not heed the end of input, and a shell that waits for it.
        script = f"sleep 600 & {shlex.join(ledger_command(folder, *arguments))}; wait"
        return {"command": ["sh", "-c", script], "cwd": str(REPOSITORY)}

    return {
        "below": below_a_shell(),
        "web": {**below_a_shell("--port", str(port)), "url": f"http://127.0.0.1:{port}/mcp"},
    }


def servers_below_npx(_: Path, port: int) -> dict[str, Any]:
    # In the folder of the installed packages npx finds them there and asks no registry.
    npx = {"command": ["npx", "-y", "@modelcontextprotocol/server-everything"], "cwd": str(NODE)}
    on_loopback = {"PORT": str(port), "NODE_OPTIONS": f"--require={LOOPBACK}"}
    return {
        "below": {**npx, "args": ["stdio"]},
        "web": {**npx, "args": ["streamableHttp"], "env": on_loopback, "url": f"http://127.0.0.1:{port}/mcp"},
    }


STARTERS: Mapping[str, Callable[[Path, int], dict[str, Any]]] = {"sh": servers_below_a_shell, "npx": servers_below_npx}
HAS_NODE = STRANGERS["everything-stdio"].is_installed


@pytest.fixture(
    params=[
        "sh",
        pytest.param("npx", marks=pytest.mark.skipif(not HAS_NODE, reason="not installed by `make strangers`")),
    ]
)
async def up(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    """Three servers: over pipes, over pipes below a starter, and at a URL below a starter."""
    servers = {
        "pipes": {"command": ledger_command(tmp_path), "cwd": str(REPOSITORY)},
        **STARTERS[request.param](tmp_path, free_port()),
    }
    marked = {name: {**server, "env": {**server.get("env", {}), **MARK}} for name, server in servers.items()}
    async with system(marked, tmp_path) as running:
        yield running


def is_of_ours(pid: int) -> bool:
    """Whether it is a service, the supervisor or a guard, and not what these have started for others."""
    command = psutil.Process(pid).cmdline()
    return process_guard.__file__ in command or any(word.startswith("services.") for word in command)


async def test_no_server_outlives_its_worker(up: System) -> None:
    """Seen to fail, with a shell, where the guard does not heed the end of its leash."""
    workers = [pid for name, pid in up.pids.items() if name.startswith("worker-")]
    theirs = {pid for worker in workers for pid in descendants(worker)}
    # A guard and a server; a guard, a starter and a server. The one at a URL is the supervisor's.
    assert len(workers) == 3
    assert len(theirs) >= 5
    assert theirs <= set(up.process.leftovers())
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not theirs & set(up.process.leftovers()), timeout_s=GONE_S)


async def test_nothing_outlives_the_supervisor(up: System) -> None:
    """Seen to fail where the guard does not heed the end of its leash."""
    # Five services; NATS, Valkey and two processes at the URL, and three guards; what the workers have.
    assert len(up.process.leftovers()) >= 5 + 4 + 3 + 5
    await up.process.kill()
    await until(lambda: not up.process.leftovers(), timeout_s=GONE_S)


async def test_calls_in_flight_keep_nothing_alive_when_the_supervisor_is_killed(up: System, tmp_path: Path) -> None:
    """Seen to fail where a service without a supervisor waits for its calls as long as when it is told to drain."""

    async def ask() -> None:
        with suppress(httpx.HTTPError):  # whether there is still an answer is not the point
            await up.ask("pipes", "record", {"id": "1", "fail": "hang"})

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await until(lambda: '"start"' in (tmp_path / "ledger").read_text())
        assert up.process.leftovers()
        await up.process.kill()
        await until(lambda: not up.process.leftovers(), timeout_s=GONE_S)
        group.cancel_scope.cancel()


async def test_no_server_outlives_all_of_us_killed_at_once_guards_included(up: System) -> None:
    """Seen to fail without the guard's tripwire: what did not heed the end of its input lived on."""
    everybody = [up.process.pid, *up.process.leftovers()]
    ours = [pid for pid in everybody if is_of_ours(pid)]
    theirs = [psutil.Process(pid).name() for pid in set(everybody) - set(ours)]
    assert {"nats-server", "valkey-server"} < set(theirs)
    assert len(theirs) >= 2 + 1 + 2 + 2
    # All are stopped first, so that none can do for a server what the kernel would not.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in ours:
            os.kill(pid, number)
    await until(lambda: not up.process.leftovers(), timeout_s=GONE_S)


@pytest.mark.parametrize(
    ("kind", "restarts", "opened"),
    [
        pytest.param("pipes", 200, 0, id="at its start, of a worker's"),
        pytest.param("up", 200, 200, id="in a call, of a worker's"),
        pytest.param("url", 50, 0, id="at its start, a worker's with a url"),
        pytest.param("supervisor", 50, 50, id="at its start, of the supervisor's"),
    ],
)
async def test_restarts_of_a_crashing_server_leave_nothing_behind(kind: str, restarts: int, opened: int) -> None:
    """Seen to fail with a descriptor, a task, 4 KiB or an orphan in a session of its own left behind each time."""
    async with python_process("tests.support.crash_loop", kind, str(restarts)) as process:
        assert await process.wait(timeout_s=120) == 0, process.stderr()
        assert process.leftovers() == []
        early, late = (json.loads(line) for line in process.stdout().splitlines())
    assert late.pop("opened") == opened
    del early["opened"]
    assert late.pop("rss_bytes") - early.pop("rss_bytes") < 8 * 2**20
    assert late.pop("python_bytes") - early.pop("python_bytes") < 64 * 2**10
    assert late == early
    assert late["processes"] == 0
