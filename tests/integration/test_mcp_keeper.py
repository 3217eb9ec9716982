"""The keeper with real servers: lost ones are served again, and nothing of them is left."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psutil
import pytest

from services.runtime import process_guard
from services.runtime.config.connections import Connection
from services.runtime.errors import UpstreamError
from services.worker.mcp.keeper import SessionKeeper, Status
from services.worker.mcp.keeping import KeepingPolicy
from services.worker.mcp.opening import SessionOpener
from tests.support.mcp_servers import raw_stdio
from tests.support.mcp_servers.raw_http import Request, raw_server
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SDK_SERVER = (sys.executable, "-m", "tests.support.mcp_servers.sdk_server")


@asynccontextmanager
async def keeping(connection: Connection, **policy: float) -> AsyncIterator[SessionKeeper]:
    opener = SessionOpener(connection)
    keeper = SessionKeeper(opener.open, owns_process=opener.owns_process, policy=KeepingPolicy(**policy))
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(keeper: SessionKeeper, state: str, *, restarts: int = 0) -> Status:
    """Return the first status with this state and at least so many restarts."""
    with anyio.fail_after(20):
        async for status in keeper.statuses():
            if status.state == state and status.restarts >= restarts:
                return status
    raise AssertionError


async def call(keeper: SessionKeeper, tool: str, arguments: str = "{}") -> bytes:
    params = f'{{"name":"{tool}","arguments":{arguments}}}'
    return await keeper.request("tools/call", params.encode(), timeout_s=10)


def servers() -> list[psutil.Process]:
    """The guards of this process and what they guard; the fixtures' NATS and Valkey have no guard."""
    guards = [child for child in psutil.Process().children() if process_guard.__file__ in child.cmdline()]
    return [process for guard in guards for process in (guard, *guard.children(recursive=True))]


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_server_that_is_killed_mid_call_is_served_again(transport: str) -> None:
    if transport == "stdio":
        connection = Connection(transport="stdio", command=SDK_SERVER, cwd=ROOT)
    else:
        port = free_port()
        command = (*SDK_SERVER, "--port", str(port))
        connection = Connection(transport="http", command=command, url=f"http://127.0.0.1:{port}/mcp", cwd=ROOT)
    async with keeping(connection) as keeper:
        await until(keeper, "up")
        slow = asyncio.ensure_future(call(keeper, "sleep", '{"seconds":600}'))
        pid = int((await call(keeper, "process_id")).split(b'"text":"')[1].split(b'"')[0])
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(UpstreamError):
            await slow
        await until(keeper, "up", restarts=1)
        assert await call(keeper, "echo", '{"value":1}')
    assert servers() == []


async def test_a_url_that_comes_back_is_served_again() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.result(b'{"tools":[]}')

    port = free_port()
    connection = Connection(transport="http", url=f"http://127.0.0.1:{port}/mcp", cwd=ROOT)
    async with keeping(connection, probe_every_s=0.3) as keeper:
        assert (await until(keeper, "down")).fault == "Connection refused"
        for _ in range(2):
            async with raw_server(handler, port=port):
                await until(keeper, "up")
                assert await call(keeper, "x") == b'{"tools":[]}'
            assert (await until(keeper, "down")).fault == "Connection refused"


async def test_a_server_that_crashes_in_every_call_leaves_no_descriptor_and_no_process() -> None:
    connection = Connection(transport="stdio", command=(sys.executable, raw_stdio.__file__), cwd=ROOT)
    # A session counts as stable at once, so that every restart is immediate.
    async with keeping(connection, stable_after_s=0.0) as keeper:
        await until(keeper, "up")
        before = psutil.Process().num_fds()
        for restarts in range(1, 31):
            with pytest.raises(UpstreamError):
                await call(keeper, "exit")
            await until(keeper, "up", restarts=restarts)
        assert psutil.Process().num_fds() == before
        assert len(servers()) == 2
    assert servers() == []


async def test_a_stopped_server_is_withdrawn_replaced_and_served_again() -> None:
    connection = Connection(transport="stdio", command=(sys.executable, raw_stdio.__file__), cwd=ROOT)
    async with keeping(connection, probe_every_s=0.2, probe_timeout_s=0.3, silence_limit_s=1.0) as keeper:
        await until(keeper, "up")
        child = next(process for process in servers() if raw_stdio.__file__ in process.cmdline())
        child.suspend()
        assert (await until(keeper, "down")).fault == "Not responding"
        await until(keeper, "up", restarts=1)
        assert not child.is_running()
        assert await call(keeper, "odd") == raw_stdio.ODD_RESULT


async def test_a_stopped_server_that_goes_on_is_served_again_without_a_restart() -> None:
    connection = Connection(transport="stdio", command=(sys.executable, raw_stdio.__file__), cwd=ROOT)
    async with keeping(connection, probe_every_s=0.2, probe_timeout_s=0.3) as keeper:
        await until(keeper, "up")
        child = next(process for process in servers() if raw_stdio.__file__ in process.cmdline())
        child.suspend()
        await until(keeper, "down")
        child.resume()
        assert (await until(keeper, "up")).restarts == 0


async def test_a_command_that_always_fails_is_down_with_its_fault() -> None:
    async with keeping(Connection(transport="stdio", command=("false",), cwd=ROOT)) as keeper:
        assert (await until(keeper, "down", restarts=3)).fault == "Process exited"
    assert servers() == []
