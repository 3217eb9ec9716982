"""Servers that are killed, come back or say nothing: each is served again by itself, and none holds up another."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.support.fleet import Answered, Fleet, fleet, python_server
from tests.support.mcp_servers.raw_http import DISCOVERED, Request, raw_server
from tests.support.ports import free_port
from tests.support.processes import RunningProcess, python_process, running
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SDK_SERVER = "tests.support.mcp_servers.sdk_server"
SERVED_AGAIN_S = 10.0
"""The goal is 2 s; the rest is for the machine that the tests run on."""

READY_S = 60.0


async def process_id(fleet: Fleet, server: str) -> int | None:
    """Return the id of the process that answers for `server`; None where it is said to be unavailable."""
    answer = await fleet.ask_http({"server": server, "tool": "process_id", "timeout_ms": 5000})
    if answer.status == 200:
        pid: int = answer.json["result"]["structuredContent"]["result"]
        return pid
    # A call that meets the death of its server may have run; until the server is back, calls certainly do not.
    assert answer.json["code"] in {"server_unavailable", "upstream_error"}, answer.body
    return None


async def another_process_id(fleet: Fleet, server: str, gone: int | None) -> int:
    """Return the id of the process that answers for `server` and is not `gone`."""
    with anyio.fail_after(SERVED_AGAIN_S):
        while (found := await process_id(fleet, server)) in (None, gone):
            await anyio.sleep(0.01)
    assert found is not None
    return found


@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
async def test_a_server_of_ours_that_is_killed_is_served_again_by_the_same_worker(transport: str) -> None:
    """Seen to fail with a keeper that does not open its session again."""
    port = free_port()
    arguments = {"stdio": [], "http": ["--port", str(port)], "sse": ["--port", str(port), "--sse"]}[transport]
    path = {"stdio": None, "http": "mcp", "sse": "sse"}[transport]
    reached = {} if path is None else {"url": f"http://127.0.0.1:{port}/{path}"}
    async with fleet({"killed": python_server(SDK_SERVER, *arguments, **reached)}) as running:
        pid = await process_id(running, "killed")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await another_process_id(running, "killed", pid)
        assert [worker.process.returncode for worker in running.workers] == [None]


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_url_that_comes_back_is_served_again_by_the_same_worker(transport: str) -> None:
    """Seen to fail with a keeper that does not open its session again."""
    port = free_port()
    arguments = ["--port", str(port), *(["--sse"] if transport == "sse" else [])]
    config = {"away": {"url": f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"}}
    async with fleet(config, workers={}) as running:
        async with python_process(SDK_SERVER, *arguments) as server:
            await running.start_worker("away")
            await running.wait_connected()
            first = await process_id(running, "away")
            assert first is not None
            await server.kill()
            with anyio.fail_after(SERVED_AGAIN_S):
                while await process_id(running, "away") is not None:
                    await anyio.sleep(0.01)
        async with python_process(SDK_SERVER, *arguments):
            await until(lambda: takes_connections(port))
            await another_process_id(running, "away", first)
        assert [worker.process.returncode for worker in running.workers] == [None]


def takes_connections(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Retiring:
    """A server that keeps its calls, and from a moment on refuses everything else."""

    def __init__(self) -> None:
        self.takes_requests = True
        self.calls = 0
        self.end = anyio.Event()

    async def handle(self, request: Request, _: asyncio.StreamReader) -> None:
        match request.json:
            case {"method": "tools/call"}:
                self.calls += 1
                await self.end.wait()
                await request.result(b'{"content":[]}')
            case _ if not self.takes_requests:
                await request.error(503, b'{"code":-32000,"message":"retiring"}')
            case {"method": "server/discover"}:
                await request.result(DISCOVERED)
            case _:
                await request.result(b'{"tools":[{"name":"slow","inputSchema":{"type":"object"}}]}')


async def test_who_waits_in_a_worker_s_line_waits_no_longer_when_its_server_goes_away() -> None:
    """Seen to fail with a line that nobody sends away: `overloaded`, by the deadline."""
    retiring = Retiring()
    answers: dict[str, Answered] = {}

    async def ask(fleet: Fleet, name: str) -> None:
        answers[name] = await fleet.ask_http({"server": "one", "tool": "slow", "timeout_ms": 30_000})

    async with (
        raw_server(retiring.handle, discovers=False) as server,
        fleet({"one": {"url": server.url, "max_in_flight": 1}}) as running,
        anyio.create_task_group() as group,
    ):
        group.start_soon(ask, running, "running")
        await until(lambda: retiring.calls == 1)
        group.start_soon(ask, running, "waiting")
        with anyio.fail_after(10):
            while b'mcp_server_queries_in_flight{server="one"} 2.0' not in (await running.get("/metrics")).body:
                await anyio.sleep(0.01)
        retiring.takes_requests = False
        await until(lambda: "waiting" in answers, timeout_s=20)
        assert "running" not in answers
        retiring.takes_requests = True
        retiring.end.set()

    waited = answers["waiting"]
    assert (waited.status, waited.json["code"], waited.json["executed"]) == (503, "server_unavailable", "no")
    assert answers["running"].status == 200
    assert retiring.calls == 1


class Up:
    """A `busbar up` from its first moment, before it says that it is ready."""

    def __init__(self, process: RunningProcess, state_file: Path) -> None:
        self.process = process
        self._state_file = state_file

    async def ask(self, server: str) -> httpx.Response | None:
        """Ask as soon as it is known whom and with which key; None while nobody listens."""
        if not self._state_file.exists():
            return None
        state = json.loads(self._state_file.read_text())
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            try:
                return await client.post(
                    f"{state['orchestrators'][0]}/v1/query",
                    json={"server": server, "tool": "odd"},
                    headers={"authorization": f"Bearer {state['keys']['query']}"},
                )
            except httpx.HTTPError:
                return None

    async def wait_status(self, server: str, status: int) -> None:
        """Return when a query is answered with this status."""
        with anyio.fail_after(READY_S):
            while (answer := await self.ask(server)) is None or answer.status_code != status:
                await anyio.sleep(0.02)


@asynccontextmanager
async def starting(folder: Path, servers: dict[str, Any]) -> AsyncIterator[Up]:
    config = folder / "busbar.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps({"servers": servers}))
    ports = [f"--{name}-port=0" for name in ("orchestrator", "health", "admin", "nats", "redis")]
    command = [sys.executable, "-m", "services.cli", "up", "--json", *ports]
    async with running([*command, f"--config={config}", f"--state-dir={folder / 'state'}"]) as process:
        yield Up(process, folder / "state" / "state.json")


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Take connections and say nothing; yield the URL."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()


async def test_servers_that_say_nothing_at_their_start_delay_neither_the_others_nor_readiness(tmp_path: Path) -> None:
    """Seen to fail with no limit on the wait for servers: `up` was never ready."""
    async with silent_server() as url:
        servers = {
            "silent_pipes": python_server("tests.support.mcp_servers.raw_stdio", "--silent"),
            "silent_url": {"url": url},
            "crashing": {"command": [sys.executable, "-c", "raise SystemExit(3)"]},
            "good": python_server("tests.support.mcp_servers.raw_stdio"),
        }
        async with starting(tmp_path, servers) as up:
            await up.wait_status("good", 200)
            # The silent ones may still answer: readiness waits for them, for ten seconds at most; queries do not.
            assert up.process.stdout() == ""
            for server in ("silent_pipes", "silent_url", "crashing"):
                await up.wait_status(server, 503)
            await until(lambda: up.process.stdout().endswith("\n"), timeout_s=READY_S)
            await up.wait_status("good", 200)


async def test_status_explains_what_does_not_come_up(tmp_path: Path) -> None:
    """Seen to fail with the words of the health service alone."""
    port = free_port()
    crashes = [sys.executable, "-c", "import sys; sys.exit('no database')"]
    servers = {
        "crashing": {"command": crashes},
        "crashing_web": {"command": crashes, "url": f"http://127.0.0.1:{port}/mcp"},
        "missing": {"command": ["no-such-program-anywhere"]},
        "silent": python_server("tests.support.mcp_servers.raw_stdio", "--silent"),
    }
    state_dir = tmp_path / "state"
    looking_for = {
        "crashing": ["Process exited: it is started again each time", f"its stderr: {state_dir / 'servers'}/crashing."],
        "crashing_web": ["Connection refused", f"its stderr: {state_dir / 'servers' / 'crashing_web.log'}"],
        "missing": ["Process exited", f"its worker's log: {state_dir / 'logs' / 'worker-missing-1.log'}"],
        "silent": ["Not responding: it is there and does not answer"],  # from the tenth second on
    }
    async with starting(tmp_path, servers) as up:
        for server in servers:
            await up.wait_status(server, 503)
        with anyio.fail_after(READY_S):
            while not is_explained(await status_lines(state_dir), looking_for):
                await anyio.sleep(0.1)


def is_explained(lines: Mapping[str, str], looking_for: Mapping[str, list[str]]) -> bool:
    """Whether each server's line holds all of its words."""
    return all(words in lines.get(server, "") for server, wanted in looking_for.items() for words in wanted)


async def status_lines(state_dir: Path) -> dict[str, str]:
    """Return what `busbar status` prints on each server, by the server's name."""
    command = [sys.executable, "-m", "services.cli", "status", f"--state-dir={state_dir}"]
    async with running(command) as process:
        await process.wait(timeout_s=20)
        table = process.stdout().partition("SERVER")[2].partition("\n\n")[0]
        return {line.split()[0]: line for line in table.splitlines()[1:]}
