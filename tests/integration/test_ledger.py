"""The ledger server is a real MCP server whose ledger is true whatever becomes of the call or of the server."""

import contextlib
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from tests.support.ledger_server import EXIT_STATUS, JSONRPC_ERROR_CODE
from tests.support.processes import REPOSITORY, RunningProcess, python_process
from tests.support.records import read_ledger
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

Transport = Literal["stdio", "http"]
MODULE = "tests.support.ledger_server"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


@pytest.fixture(params=["stdio", "http"])
def transport(request: pytest.FixtureRequest) -> Transport:
    name: Transport = request.param
    return name


async def test_a_call_is_answered_with_its_id_and_noted_from_start_to_end(transport: Transport, ledger: Path) -> None:
    async with _connected(transport, ledger) as client:
        answer = await client.call_tool("record", {"id": "q1", "ms": 1})
    assert isinstance(answer, CallToolResult)
    start, end = read_ledger(ledger)
    assert [(line.id, line.event) for line in (start, end)] == [("q1", "start"), ("q1", "end")]
    assert answer.structured_content == {"id": "q1", "pid": start.pid}
    assert not answer.is_error


async def test_only_one_of_the_tools_declares_itself_idempotent(transport: Transport, ledger: Path) -> None:
    async with _connected(transport, ledger) as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    hints = {name: annotations and annotations.idempotent_hint for name, annotations in tools.items()}
    assert hints == {"record": False, "record_idempotent": True}


async def test_four_hundred_calls_run_at_once_and_a_cancelled_one_is_noted(transport: Transport, ledger: Path) -> None:
    async with _connected(transport, ledger) as client, anyio.create_task_group() as calls:
        for number in range(400):
            calls.start_soon(client.call_tool, "record", {"id": f"q{number}", "fail": "hang"})
        await _noted(ledger, "start", 400)
        calls.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await _noted(ledger, "cancelled", 400)
    assert Counter(line.event for line in read_ledger(ledger)) == {"start": 400, "cancelled": 400}


async def test_a_call_that_reports_an_error_has_run(transport: Transport, ledger: Path) -> None:
    async with _connected(transport, ledger) as client:
        answer = await client.call_tool("record", {"id": "q1", "fail": "error"})
    assert isinstance(answer, CallToolResult)
    assert answer.is_error
    assert [line.event for line in read_ledger(ledger)] == ["start", "end"]


async def test_a_call_can_be_answered_with_a_json_rpc_error(transport: Transport, ledger: Path) -> None:
    async with _connected(transport, ledger) as client:
        with pytest.raises(MCPError) as error:
            await client.call_tool("record", {"id": "q1", "fail": "jsonrpc"})
    assert (error.value.code, error.value.data) == (JSONRPC_ERROR_CODE, {"id": "q1"})
    assert [line.event for line in read_ledger(ledger)] == ["start", "end"]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"id": 1}, {"id": "q", "ms": -1}, {"id": "q", "ms": True}, {"id": "q", "fail": "?"}, {"id": "q", "more": 1}],
)
async def test_a_call_with_wrong_arguments_is_refused_and_not_noted(ledger: Path, arguments: dict[str, object]) -> None:
    async with _connected("stdio", ledger) as client:
        with pytest.raises(MCPError, match="schema"):
            await client.call_tool("record", arguments)
    assert list(read_ledger(ledger)) == []


async def test_the_start_of_a_call_survives_the_exit_that_the_call_causes(ledger: Path) -> None:
    async with _http_server(ledger) as (process, url):
        with anyio.fail_after(10):
            await _call_until_the_server_dies(url, {"id": "q1", "fail": "exit"})
        assert await process.wait() == EXIT_STATUS
    assert [(line.id, line.event) for line in read_ledger(ledger)] == [("q1", "start")]


async def test_servers_in_several_processes_share_a_ledger(ledger: Path) -> None:
    async with (
        _connected("stdio", ledger) as one,
        _connected("http", ledger) as other,
        anyio.create_task_group() as calls,
    ):
        for number in range(100):
            client = one if number % 2 else other
            calls.start_soon(client.call_tool, "record", {"id": f"q{number}"})
    lines = list(read_ledger(ledger))
    starts = [line for line in lines if line.event == "start"]
    assert len(lines) == 200
    assert {line.id for line in starts} == {f"q{number}" for number in range(100)}
    assert sorted(Counter(line.pid for line in starts).values()) == [50, 50]


async def test_a_server_told_to_stop_writes_its_lines_and_leaves(ledger: Path) -> None:
    async with _http_server(ledger) as (process, url), Client(url) as client:
        await client.call_tool("record", {"id": "q1"})
        process.signal(signal.SIGTERM)
        await process.wait()
    assert [line.event for line in read_ledger(ledger)] == ["start", "end"]


@asynccontextmanager
async def _connected(transport: Transport, ledger: Path) -> AsyncIterator[Client]:
    if transport == "stdio":
        command = StdioServerParameters(
            command=sys.executable, args=["-m", MODULE, "--ledger", str(ledger)], cwd=REPOSITORY
        )
        async with Client(command, read_timeout_seconds=20) as client:
            yield client
        return
    limits = httpx2.Limits(max_connections=None)
    async with (
        _http_server(ledger) as (_, url),
        httpx2.AsyncClient(limits=limits, timeout=20, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), read_timeout_seconds=20) as client,
    ):
        yield client


@asynccontextmanager
async def _http_server(ledger: Path) -> AsyncIterator[tuple[RunningProcess, str]]:
    async with python_process(MODULE, "--ledger", str(ledger), "--port", "0") as process:
        await until(lambda: process.stdout().endswith("\n"))
        yield process, process.stdout().strip()


async def _call_until_the_server_dies(url: str, arguments: dict[str, object]) -> None:
    """Call by a client of its own, which the death of its server takes along."""
    with contextlib.suppress(Exception):
        async with Client(url) as client:
            await client.call_tool("record", arguments)


async def _noted(ledger: Path, event: str, times: int) -> None:
    await until(lambda: sum(line.event == event for line in read_ledger(ledger)) == times, timeout_s=20)
