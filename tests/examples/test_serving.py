"""How the example servers listen and stop."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest
from mcp.client import Client

from tests.examples.processes import ROOT, START_TIMEOUT_S, STOP_TIMEOUT_S, command, over_http

pytestmark = pytest.mark.anyio

DISCOVER = (
    '{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{'
    '"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}\n'
)
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "server/discover",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_signal_stops_an_http_server_with_status_0_while_a_client_is_connected(
    number: signal.Signals, mode: str
) -> None:
    async with over_http("product_metadata_mcp") as server, Client(server.url, mode=mode) as client:
        await client.call_tool("resolve_product", {"alias": "poof"})
        server.process.send_signal(number)
        with anyio.fail_after(STOP_TIMEOUT_S):
            assert await server.process.wait() == 0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_call_that_runs_when_the_stop_comes_is_answered(database: Path, mode: str) -> None:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000) SELECT max(i) FROM n"
    async with over_http("database_mcp", "--database", str(database)) as server:
        async with Client(server.url, mode=mode) as client:
            answers = []

            async def ask() -> None:
                answers.append(await client.call_tool("query", {"sql": slow}))

            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await client.call_tool("query", {"sql": "SELECT 1"})
                server.process.terminate()
            assert answers[0].structured_content["rows"] == [[2_000_000]]
        with anyio.fail_after(STOP_TIMEOUT_S):
            assert await server.process.wait() == 0


@pytest.mark.parametrize("stop", [subprocess.Popen.terminate, None], ids=["sigterm", "end-of-input"])
async def test_a_stdio_server_stops_with_status_0_and_says_only_protocol_on_stdout(
    stop: Callable[[object], None] | None,
) -> None:
    with anyio.fail_after(START_TIMEOUT_S):
        process = await anyio.open_process(command("product_metadata_mcp"), cwd=ROOT, stderr=subprocess.DEVNULL)
        async with process:
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.send(DISCOVER.encode())
            answer = await process.stdout.receive()
            assert answer.startswith(b'{"jsonrpc"')
            if stop:
                process.terminate()
            else:
                await process.stdin.aclose()
            assert await process.wait() == 0


async def test_the_path_is_exact_and_a_foreign_host_or_origin_is_refused() -> None:
    async with over_http("product_metadata_mcp") as server, httpx.AsyncClient() as http:
        answer = await http.post(server.url, content=DISCOVER, headers=HEADERS)
        assert answer.status_code == 200
        assert answer.json()["result"]["supportedVersions"] == ["2026-07-28"]
        foreign_host = await http.post(server.url, content=DISCOVER, headers={**HEADERS, "host": "evil.example"})
        assert foreign_host.status_code == 421
        origin = {"origin": "http://evil.example"}
        assert (await http.post(server.url, content=DISCOVER, headers={**HEADERS, **origin})).status_code == 403


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
async def test_a_wrong_port_is_a_usage_error(port: str) -> None:
    with anyio.fail_after(START_TIMEOUT_S):
        done = await anyio.run_process(command("product_metadata_mcp", f"--port={port}"), cwd=ROOT, check=False)
    assert done.returncode == 2
    assert b"--port" in done.stderr
