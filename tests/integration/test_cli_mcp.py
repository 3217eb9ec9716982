"""`busbar mcp`: the official SDK's client starts the command and uses the fleet; and what goes wrong is told."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from mcp import Client, StdioServerParameters

from services.cli.stdio_front import StdioFront, new_http_client
from tests.support.fleet import OWN_KEY, Fleet, fleet, python_server
from tests.support.ports import free_port
from tests.support.processes import REPOSITORY
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SDK = "tests.support.mcp_servers.sdk_server"
BUSBAR = str(Path(sys.executable).with_name("busbar"))


def command(running: Fleet, *arguments: str) -> StdioServerParameters:
    environment = {"BUSBAR_URL": running.urls[0], "BUSBAR_KEY": running.keys[OWN_KEY], "PATH": os.environ["PATH"]}
    return StdioServerParameters(command=BUSBAR, args=["mcp", *arguments], env=environment, cwd=str(REPOSITORY))


async def test_a_client_of_either_era_uses_the_fleet_through_the_command() -> None:
    config = {"new": python_server(SDK, era="modern"), "old": python_server(SDK, era="legacy")}
    async with fleet(config, keys={}) as running:
        for mode in ("2026-07-28", "legacy"):
            told: list[float] = []

            async def on_progress(
                progress: float, total: float | None, message: str | None, told: list[float] = told
            ) -> None:
                told.append(progress)

            with anyio.fail_after(90):
                async with Client(command(running), mode=mode) as client:
                    names = {tool.name for tool in (await client.list_tools()).tools}
                    assert {"new__echo", "old__echo"} <= names
                    counted = await client.call_tool("new__count", {"to": 3}, progress_callback=on_progress)
                    assert counted.content[0].text == "counted"  # type: ignore[union-attr]
                    assert told[-1:] == [3]
                async with Client(command(running, "--server", "old", "--search"), mode=mode) as client:
                    assert [tool.name for tool in (await client.list_tools()).tools] == ["find_tools", "call_tool"]
                    called = await client.call_tool("call_tool", {"name": "echo", "arguments": {"value": "ö"}})
                    assert called.content[0].text == '"ö"'  # type: ignore[union-attr]


def run(*lines: dict[str, Any], url: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BUSBAR_URL": url, "BUSBAR_KEY": "k"}
    said = "".join(json.dumps(line) + "\n" for line in lines)
    return subprocess.run(
        [BUSBAR, "mcp"], input=said, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_what_cannot_be_reached_is_a_json_rpc_error_and_one_line_on_stderr() -> None:
    done = run({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}, url=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["id"], told["error"]["message"]) == (7, "Busbar cannot be reached")
    assert done.stderr == "Busbar cannot be reached\n"


class Answering:
    """An orchestrator whose answers are the test's."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.url = ""
        self.answers: dict[str, web.Response] = {}
        self.is_left = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        message = json.loads(body) if body.startswith(b"{") else {}
        self.requests.append((request.method, {k.lower(): v for k, v in request.headers.items()}, message))
        method = message.get("method", request.method)
        if method == "hang":
            self.is_asked.set()
            try:
                await asyncio.sleep(60)
            finally:
                self.is_left.set()
        return self.answers.get(method) or web.Response(status=202)

    def headers(self, method: str) -> dict[str, str]:
        """Return those of the first request of a method."""
        return next(headers for _, headers, message in self.requests if message.get("method") == method)


@asynccontextmanager
async def answering() -> AsyncIterator[Answering]:
    server = Answering()
    application = web.Application()
    application.router.add_route("*", "/mcp", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def front(*urls: str) -> AsyncIterator[tuple[asyncio.Queue[bytes], list[Any]]]:
    """Run a front; yield where the client says lines, and what it is told."""
    said: asyncio.Queue[bytes] = asyncio.Queue()
    told: list[Any] = []

    async def lines() -> AsyncIterator[bytes]:
        while line := await said.get():
            yield line

    def write(message: bytes) -> None:
        assert b"\n" not in message
        told.append(json.loads(message))

    async with new_http_client(trust_env=False) as http:
        running = asyncio.create_task(StdioFront(urls, "k", http=http, write=write).run(lines()))
        with anyio.fail_after(30):
            yield said, told
            said.put_nowait(b"")
            await running


def line(method: str, params: Any = None, **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, **more}).encode()


MODERN = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


async def test_a_modern_request_gets_the_headers_that_repeat_it() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    async with answering() as server, front(server.url) as (said, told):
        listed = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "tü", "inputSchema": schema}]}}
        server.answers["tools/list"] = web.json_response(listed, dumps=lambda value: json.dumps(value, indent=2))
        said.put_nowait(line("tools/list", MODERN, id=1))
        await until(lambda: told == [listed])
        said.put_nowait(line("tools/call", {**MODERN, "name": "tü", "arguments": {"region": "emea"}}, id=2))
        await until(lambda: len(server.requests) == 2)
        headers = server.headers("tools/call")
        assert headers["authorization"] == "Bearer k"
        assert (headers["mcp-protocol-version"], headers["mcp-method"]) == ("2026-07-28", "tools/call")
        assert (headers["mcp-name"], headers["mcp-param-region"]) == ("=?base64?dMO8?=", "emea")


async def test_a_session_goes_with_all_that_follows_and_with_the_stream_beside() -> None:
    async with answering() as server, front(server.url) as (said, told):
        hello = {"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-06-18"}}
        server.answers["initialize"] = web.json_response(hello, headers={"mcp-session-id": "s1"})
        change = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        server.answers["GET"] = web.Response(
            text=f": ping\n\nevent: message\ndata: {json.dumps(change)}\n\n", content_type="text/event-stream"
        )
        said.put_nowait(line("initialize", id=1))
        said.put_nowait(line("notifications/initialized"))
        await until(lambda: change in told)
        assert told[0] == hello
        for method, headers, message in server.requests:
            if message.get("method") != "initialize":
                assert (method, headers["mcp-session-id"], headers["mcp-protocol-version"]) == (
                    "GET" if not message else "POST", "s1", "2025-06-18",
                )  # fmt: skip


async def test_a_cancelled_request_of_a_client_without_a_session_closes_its_stream() -> None:
    async with answering() as server, front(server.url) as (said, _told):
        said.put_nowait(line("hang", MODERN, id="a"))
        await server.is_asked.wait()
        said.put_nowait(line("notifications/cancelled", {"requestId": "a"}))
        await server.is_left.wait()
        assert len(server.requests) == 1


async def test_the_next_orchestrator_is_asked_where_one_is_away_and_a_problem_is_told_in_its_own_words() -> None:
    async with answering() as server, front(f"http://127.0.0.1:{free_port()}/mcp", server.url) as (said, told):
        server.answers["tools/list"] = web.Response(
            status=401, text='{"detail": "A valid key is needed."}', content_type="application/problem+json"
        )
        said.put_nowait(line("tools/list", id=3))
        await until(lambda: told)
        assert (told[0]["id"], told[0]["error"]["message"]) == (3, "A valid key is needed.")


async def test_what_is_no_message_is_passed_on_for_busbar_to_refuse() -> None:
    refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}}
    async with answering() as server, front(server.url) as (said, told):
        server.answers["POST"] = web.json_response(refusal, status=400)
        said.put_nowait(b"[]\n")
        await until(lambda: told == [refusal])
