"""`busbar up`: real processes, killed, terminated and drained."""

import json
import os
import pty
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from tests.support.ports import free_port
from tests.support.processes import REPOSITORY, ProcessDiedError, RunningProcess, python_process, running
from tests.support.records import Told, read_ledger, read_record
from tests.support.servers import NatsServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

UP = [sys.executable, "-m", "services.cli", "up"]
ANY_PORTS = [f"--{name}-port=0" for name in ("orchestrator", "health", "admin", "nats", "redis")]
READY_S = 40.0


class System:
    """A running `busbar up` in front of ledger servers: `pipes` over stdio, `web` at a URL."""

    def __init__(self, process: RunningProcess, folder: Path) -> None:
        self.process = process
        self.config = folder / "busbar.yaml"
        self.ledger = folder / "ledger"
        self.state_dir = folder / "state"
        self.printed: dict[str, Any] = {}

    @property
    def state(self) -> dict[str, Any]:
        """The state file as it is now."""
        state: dict[str, Any] = json.loads((self.state_dir / "state.json").read_text())
        return state

    @property
    def pids(self) -> dict[str, int]:
        pids: dict[str, int] = self.state["pids"]
        return pids

    async def wait_ready(self) -> None:
        with anyio.fail_after(READY_S):
            while not self.process.stdout().endswith("\n"):
                if self.process.returncode is not None:
                    raise ProcessDiedError(self.process.stderr())
                await anyio.sleep(0.02)
        self.printed = json.loads(self.process.stdout())

    async def ask(self, server: str, call_id: str) -> httpx.Response:
        """Send one query to the first orchestrator."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            return await client.post(
                f"{self.printed['orchestrators'][0]}/v1/query",
                json={"server": server, "tool": "record", "arguments": {"id": call_id}},
                headers={"authorization": f"Bearer {self.printed['keys']['query']}"},
            )

    async def wait_answering(self, server: str) -> None:
        """Return when a query is answered."""
        with anyio.fail_after(READY_S):
            while True:
                try:
                    if (await self.ask(server, "again")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await anyio.sleep(0.05)

    async def wait_restarted(self, name: str, old_pid: int) -> None:
        """Return when the process `name` has another id than `old_pid`."""
        await until(lambda: self.pids.get(name, old_pid) != old_pid, timeout_s=READY_S)


def write_config(folder: Path, servers: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tests.support.ledger_server", "--ledger", str(folder / "ledger")]
    port = free_port()
    known: dict[str, Any] = {
        "pipes": {"command": command, "cwd": str(REPOSITORY)},
        "web": {
            "command": [*command, "--port", str(port)],
            "cwd": str(REPOSITORY),
            "url": f"http://127.0.0.1:{port}/mcp",
        },
    }
    path = folder / "busbar.yaml"
    path.write_text(json.dumps({"servers": {name: known[name] for name in servers}}))
    path.chmod(0o600)


def up_arguments(folder: Path) -> list[str]:
    return ["--json", *ANY_PORTS, "--config", str(folder / "busbar.yaml"), "--state-dir", str(folder / "state")]


@asynccontextmanager
async def up(
    folder: Path,
    *arguments: str,
    servers: tuple[str, ...] = ("pipes",),
    env: Mapping[str, str] | None = None,
    launcher: tuple[str, ...] = (),
) -> AsyncIterator[System]:
    """Run `busbar up --json`, ready; killed with everything it has started on the way out."""
    write_config(folder, servers)
    async with running([*launcher, *UP, *up_arguments(folder), *arguments], env=env) as process:
        system = System(process, folder)
        await system.wait_ready()
        yield system


async def refused(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Return the status and the stderr of a `busbar up` that does not start; nothing of it is left."""
    async with running([*UP, *arguments], env=env) as process:
        status = await process.wait(timeout_s=READY_S)
        assert process.leftovers() == []
        assert process.stdout() == ""
        return status, process.stderr()


async def test_up_says_in_one_line_of_json_where_everything_is_and_stops_without_a_trace(tmp_path: Path) -> None:
    async with up(tmp_path, "--workers=2", "--orchestrators=2", servers=("pipes", "web")) as system:
        printed = system.printed
        assert printed.keys() == {"orchestrators", "health", "admin", "nats", "redis", "keys", "pids"}
        assert printed.keys() | {"supervisor"} == system.state.keys()
        assert system.state["supervisor"] == system.process.pid
        assert stat.S_IMODE((system.state_dir / "state.json").stat().st_mode) == 0o600
        assert len(set(printed["orchestrators"])) == 2
        assert printed["keys"].keys() == {"query", "admin"}
        assert printed["pids"].keys() == {
            "nats", "redis", "orchestrator-1", "orchestrator-2", "health", "admin",
            "worker-pipes-1", "worker-pipes-2", "worker-web-1", "worker-web-2", "server-web",
        }  # fmt: skip
        policies = {name: os.sched_getscheduler(pid) for name, pid in printed["pids"].items()}
        assert policies == dict.fromkeys(policies, os.SCHED_BATCH) | {"server-web": os.SCHED_OTHER}
        await system.wait_answering("pipes")
        await system.wait_answering("web")
        assert await system.process.terminate() == 0
        assert system.process.leftovers() == []
        assert not (system.state_dir / "state.json").exists()
        assert len(system.process.stdout().splitlines()) == 1


async def test_no_secret_url_or_command_of_a_server_is_in_the_arguments_of_our_processes(tmp_path: Path) -> None:
    async with up(tmp_path, "--workers=2", servers=("web",)) as system:
        passwords = [system.printed[name].rpartition("@")[0].rpartition(":")[2] for name in ("nats", "redis")]
        secrets = [*passwords, *system.printed["keys"].values(), "/mcp"]
        for name, pid in system.pids.items():
            arguments = " ".join(psutil.Process(pid).cmdline())
            assert not any(secret in arguments for secret in secrets), arguments
            assert ("ledger_server" in arguments) == (name == "server-web")


async def test_what_the_operators_variables_hold_reaches_nobody_through_what_services_are_forked_from(
    tmp_path: Path,
) -> None:
    # What each is given of them is test_supervisor_plan's; that it gets this and no more, test_nursery's.
    planted = {"PRODUCTS_TOKEN": "planted-token", "BUSBAR_ADMIN_KEY": "planted-key", "BUSBAR_LOG_LEVEL": "WARNING"}
    async with up(tmp_path, env=planted) as system:
        for name in ("orchestrator-1", "health", "admin", "worker-pipes-1"):
            process = psutil.Process(system.pids[name])
            assert name.startswith(process.name())
            inherited = process.environ()
            assert "planted" not in "\n".join(inherited.values()), name
            assert not any(variable.startswith("BUSBAR_") for variable in inherited), name


async def test_a_server_with_a_command_and_a_url_is_started_once_for_all_its_workers(tmp_path: Path) -> None:
    async with up(tmp_path, "--workers=2", servers=("web",)) as system:
        await system.wait_answering("web")
        commands = [psutil.Process(pid).cmdline() for pid in system.process.leftovers()]
        assert sum("tests.support.ledger_server" in command for command in commands) == 1


async def test_every_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with up(tmp_path, servers=("pipes", "web")) as system:
        for name, pid in system.printed["pids"].items():
            os.kill(pid, signal.SIGKILL)
            await system.wait_restarted(name, pid)
        await system.wait_answering("pipes")
        await system.wait_answering("web")
        assert await system.process.terminate() == 0
        assert system.process.leftovers() == []


async def test_a_terminated_worker_is_started_again_as_it_was_while_the_config_is_broken(tmp_path: Path) -> None:
    async with up(tmp_path) as system:
        system.config.write_text("servers: {pipes: {comand: [")
        pid = system.pids["worker-pipes-1"]
        os.kill(pid, signal.SIGTERM)
        await system.wait_restarted("worker-pipes-1", pid)
        await system.wait_answering("pipes")


async def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    async with up(tmp_path, servers=("pipes", "web")) as system:
        assert len(system.process.leftovers()) >= 7
        await system.process.kill()
        await until(lambda: not system.process.leftovers(), timeout_s=5)


async def test_nothing_outlives_a_supervisor_that_is_killed_while_it_starts(tmp_path: Path) -> None:
    write_config(tmp_path, ("pipes", "web"))
    async with running([*UP, *up_arguments(tmp_path)]) as process:
        system = System(process, tmp_path)
        await until(lambda: (system.state_dir / "state.json").exists() and len(system.pids) >= 7)
        assert len(process.leftovers()) >= 7  # seen now: they do not inherit what they could be found by later
        await process.kill()
        await until(lambda: not process.leftovers(), timeout_s=10)


async def test_a_ctrl_c_under_load_answers_every_query_that_was_taken(tmp_path: Path) -> None:
    terminal, path = _open_terminal()
    # It becomes the foreground group of the terminal, as under a shell.
    onto_terminal = "import os, sys; os.open(sys.argv[1], os.O_RDWR); os.execv(sys.argv[2], sys.argv[2:])"
    launcher = (sys.executable, "-c", onto_terminal, path)
    record = tmp_path / "record"
    async with up(tmp_path, launcher=launcher) as system:
        load = ("--server=pipes", "--rate=200", "--ms=200", f"--record={record}")
        env = {"BUSBAR_KEY": system.printed["keys"]["query"]}
        url = system.printed["orchestrators"][0]
        async with python_process("tests.support.load", f"--url={url}", *load, env=env) as driver:
            await until(lambda: record.exists() and _answered(record) > 200)
            os.write(terminal, b"\x03")
            await until(lambda: "Finishing" in system.process.stderr())
            os.write(terminal, b"\x03")
            await until(lambda: "Still finishing" in system.process.stderr())
            assert await system.process.wait(timeout_s=20) == 0
            assert await driver.terminate() == 0
        assert system.process.leftovers() == []
    started = {line.id for line in read_ledger(tmp_path / "ledger") if line.event == "start"}
    answered = {line.id for line in read_record(record) if isinstance(line, Told) and line.status == 200}
    refusals = {(line.code, line.executed) for line in read_record(record) if isinstance(line, Told) and line.code}
    assert started == answered
    # Whoever came too late found nobody listening.
    assert refusals <= {("connection", "no")}
    os.close(terminal)


async def test_a_ctrl_c_while_the_supervisor_loads_is_an_orderly_stop(tmp_path: Path) -> None:
    write_config(tmp_path, ("pipes",))
    async with running([*UP, *up_arguments(tmp_path)]) as process:
        await until(lambda: "services.supervisor" in psutil.Process(process.pid).cmdline())
        process.signal(signal.SIGINT)
        assert await process.wait(timeout_s=READY_S) == 0
        assert process.leftovers() == []


async def test_a_port_in_use_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    write_config(tmp_path, ("pipes",))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, told = await refused(*up_arguments(tmp_path), f"--health-port={port}")
    assert status == 1
    assert told.splitlines() == [
        f"busbar up: port {port} is in use; choose another with --health-port, or 0 for any free one"
    ]


async def test_a_second_up_on_the_same_state_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    async with up(tmp_path) as system:
        status, told = await refused(*up_arguments(tmp_path))
        assert status == 1
        assert len(told.splitlines()) == 1
        assert f"process {system.process.pid}" in told
        await system.wait_answering("pipes")


async def test_a_config_that_is_wrong_is_told_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "busbar.yaml").write_text("servers: {pipes: {comand: [x]}}")
    status, told = await refused(*up_arguments(tmp_path))
    assert status == 1
    assert "nearest known one is command" in told


async def test_a_bus_of_somebody_else_is_used_and_none_of_ours_is_started(tmp_path: Path, nats: NatsServer) -> None:
    async with up(tmp_path, env={"BUSBAR_NATS_URL": nats.url}) as system:
        assert "nats" not in system.pids
        assert system.printed["nats"] == nats.url
        await system.wait_answering("pipes")
        assert await system.process.terminate() == 0
        assert system.process.leftovers() == []


async def test_up_is_ready_although_a_server_does_not_come_up(tmp_path: Path) -> None:
    config = {"servers": {"broken": {"command": [sys.executable, "-c", "raise SystemExit(3)"]}}}
    (tmp_path / "busbar.yaml").write_text(json.dumps(config))
    async with running([*UP, *up_arguments(tmp_path)]) as process:
        system = System(process, tmp_path)
        await system.wait_ready()
        answer = await system.ask("broken", "1")
        assert (answer.status_code, answer.json()["code"]) == (503, "server_unavailable")


def _open_terminal() -> tuple[int, str]:
    """Return our end of a new terminal, and the path of the other."""
    ours, theirs = pty.openpty()
    path = os.ttyname(theirs)
    os.set_inheritable(ours, False)
    os.close(theirs)
    return ours, path


def _answered(record: Path) -> int:
    return sum(isinstance(line, Told) for line in read_record(record))
