"""`busbar` as a process, against a stand-in for the services."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.cli.errors import CommandError
from services.cli.http_client import ask
from services.cli.location import Endpoint
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

HOSTILE = "\x1b[31m[red]danger[/red]\x1b]0;title\x07\r\n\x9b2Jsecond"
KEY = "bb_test_key"


class Done(NamedTuple):
    status: int
    out: str
    err: str


class StandIn:
    """A service that answers with what the test put into `answers`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, web.Response | Callable[[web.Request], web.Response]] = {}
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.url = ""

    def answer(self, path: str, document: object, status: int = 200) -> None:
        text = json.dumps(document, ensure_ascii=False)
        self.answers[path] = lambda _: web.Response(text=text, status=status, content_type="application/json")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.can_read_body:
            self.bodies.append(await request.json())
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response(status=404, text="nothing here")
        return answer(request) if callable(answer) else answer


@pytest.fixture
async def gateway() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stand_in.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        stand_in.url = f"http://127.0.0.1:{server.port}"
        yield stand_in


Busbar = Callable[..., Awaitable[Done]]


@pytest.fixture
def busbar(gateway: StandIn, tmp_path: Path) -> Busbar:
    async def run(*arguments: str, stdin: bytes = b"", **variables: str) -> Done:
        environ = {"PATH": os.environ["PATH"], "BUSBAR_URL": gateway.url, "BUSBAR_KEY": KEY, **variables}
        with anyio.fail_after(30):
            done = await anyio.run_process(
                [sys.executable, "-m", "services.cli", *arguments],
                input=stdin,
                check=False,
                cwd=tmp_path,
                env={name: value for name, value in environ.items() if value},
            )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def answered(result: dict[str, object]) -> dict[str, object]:
    return {
        "id": "01K0",
        "server": "products",
        "version": "1.0.0",
        "instance": "q7",
        "cache": "miss",
        "attempts": 1,
        "timing_ms": {"total": 4.1, "upstream": 2.9, "queue": 0.1},
        "result": result,
    }


def problem(code: str, status: int, **more: object) -> dict[str, object]:
    detail = "No answer came within the deadline."
    return {"type": f"urn:busbar:error:{code}", "status": status, "detail": detail, "code": code, "id": "01K0", **more}


def one_line_of(done: Done) -> str:
    """The only line of a failed command."""
    assert done.out == ""
    assert done.err.endswith("\n")
    (line,) = done.err.splitlines()
    return line


async def test_a_query_carries_what_was_typed_and_prints_the_text(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/query", answered({"content": [{"type": "text", "text": "Magic Wand Pro"}]}))
    done = await busbar("query", "products", "resolve", "alias=abra", "--timeout", "2.5", "--cache", "bypass")
    assert done == Done(0, "Magic Wand Pro\n", "")
    assert gateway.bodies == [
        {
            "server": "products",
            "tool": "resolve",
            "arguments": {"alias": "abra"},
            "timeout_ms": 2500,
            "cache": "bypass",
        }
    ]
    assert gateway.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_the_tools_schema_tells_text_from_numbers(gateway: StandIn, busbar: Busbar) -> None:
    schema = {"properties": {"text": {"type": "string"}, "number": {"type": "integer"}}}
    first = {"server": "s", "version": "1.0.0", "tool": {"name": "other", "inputSchema": {}}}
    second = {"server": "s", "version": "1.0.0", "tool": {"name": "t", "inputSchema": schema}}

    def page(request: web.Request) -> web.Response:
        if "cursor" in request.query:
            return web.json_response({"tools": [second], "next_cursor": None})
        return web.json_response({"tools": [first], "next_cursor": "next"})

    gateway.answers["/v1/tools"] = page
    gateway.answer("/v1/query", answered({"content": []}))
    assert (await busbar("query", "s", "t", "text=123", "number=123", "other=true")).status == 0
    assert gateway.bodies[-1]["arguments"] == {"text": "123", "number": 123, "other": True}
    assert gateway.requests[0].query["server"] == "s"


async def test_arguments_may_be_one_object_from_stdin(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/query", answered({"content": []}))
    assert (await busbar("query", "s", "t", "--args", "-", stdin=b'{"a": [1, null]}')).status == 0
    assert gateway.bodies[-1]["arguments"] == {"a": [1, None]}


async def test_resources_and_prompts_are_asked_for_too(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/query", answered({"contents": [{"uri": "a://b", "text": "read"}]}))
    assert (await busbar("query", "s", "--resource", "a://b")).out == "read\n"
    assert gateway.bodies[-1] == {"server": "s", "resource": "a://b", "timeout_ms": 30000, "cache": "default"}
    assert (await busbar("query", "s", "--prompt", "p", "number=5")).status == 0
    assert (gateway.bodies[-1]["prompt"], gateway.bodies[-1]["arguments"]) == ("p", {"number": "5"})


async def test_hostile_text_of_a_server_is_harmless_wherever_it_is_shown(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/query", answered({"content": [{"type": "text", "text": HOSTILE}]}))
    tool = {"name": "\x1b[2Jt", "description": HOSTILE}
    gateway.answer("/v1/tools", {"tools": [{"server": "s", "version": "1.0.0", "tool": tool}], "next_cursor": None})
    text = await busbar("query", "s", "t")
    assert text == Done(0, "[red]danger[/red]\nsecond\n", "")
    table = await busbar("tools")
    assert table.out.splitlines()[1].split() == ["s", "1.0.0", "t", "[red]danger[/red]"]
    whole = await busbar("query", "s", "t", "--json")
    assert json.loads(whole.out)["result"]["content"][0]["text"] == HOSTILE
    refused = problem("upstream_refused", 502, mcp_error={"code": -1, "message": HOSTILE + "\x1b["})
    gateway.answer("/v1/query", refused, 502)
    line = one_line_of(await busbar("query", "s", "t"))
    assert line.endswith("The server said: [red]danger[/red] second (id 01K0)")
    for shown in (text.out, table.out, whole.out, line):
        assert not set(shown) & set("\x1b\x07\x9b\r")


async def test_json_is_the_whole_answer_as_the_gateway_wrote_it(gateway: StandIn, busbar: Busbar) -> None:
    written = '{"id":"01K0","result":{"content":[],"number":1.10,"big":123456789012345678901234567890}}'
    gateway.answers["/v1/query"] = lambda _: web.Response(text=written, content_type="application/json")
    assert await busbar("query", "s", "t", "--json") == Done(0, written + "\n", "")


async def test_a_result_that_the_tool_calls_an_error_is_shown_with_status_1(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/query", answered({"content": [{"type": "text", "text": "no such table"}], "isError": True}))
    assert await busbar("query", "s", "t") == Done(1, "no such table\n", "the tool reports an error (id 01K0)\n")


async def test_a_problem_is_one_line_with_its_code_and_id(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/query", problem("timeout", 504), 504)
    done = await busbar("query", "s", "t")
    assert done.status == 1
    assert one_line_of(done) == "timeout: No answer came within the deadline. (id 01K0)"


async def test_wrong_arguments_are_told_with_their_places(gateway: StandIn, busbar: Busbar) -> None:
    wrong = [{"pointer": "/alias", "keyword": "type"}, {"pointer": "", "keyword": "required"}]
    gateway.answer("/v1/query", problem("invalid_arguments", 422, errors=wrong), 422)
    assert "[/alias type, / required]" in one_line_of(await busbar("query", "s", "t"))


@pytest.mark.parametrize("command", [["query", "s", "t"], ["tools"], ["status"]])
async def test_a_bad_key_is_one_line(command: list[str], gateway: StandIn, busbar: Busbar) -> None:
    for path in ("/v1/query", "/v1/tools", "/v1/servers"):
        gateway.answer(path, problem("unauthorized", 401), 401)
    done = await busbar(*command)
    assert done.status == 1
    assert "unauthorized: " in one_line_of(done)


@pytest.mark.parametrize("command", [["query", "s", "t"], ["tools"], ["status"], ["status", "--json"]])
async def test_whatever_goes_wrong_is_one_line_with_status_1(
    command: list[str], gateway: StandIn, busbar: Busbar
) -> None:
    refused = f"http://user:secret@127.0.0.1:{free_port()}"
    for url, said in (("", "no Busbar found"), (refused, "cannot be reached"), (gateway.url, "as Busbar does")):
        done = await busbar(*command, BUSBAR_URL=url)
        assert done.status == 1
        line = one_line_of(done)
        assert said in line
        assert "secret" not in line


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"result": 5}', b'{"result": []}', b"[" * 100_000])
async def test_an_answer_that_is_none_is_one_line(body: bytes, gateway: StandIn, busbar: Busbar) -> None:
    gateway.answers["/v1/query"] = lambda _: web.Response(body=body, content_type="application/json")
    done = await busbar("query", "s", "t")
    assert done.status == 1
    one_line_of(done)


async def silence(_: web.Request) -> web.StreamResponse:
    await anyio.sleep(60)
    return web.Response()


async def trickle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await anyio.sleep(0.02)


@pytest.mark.parametrize("handler", [silence, trickle])
async def test_a_gateway_without_an_end_is_not_waited_for_longer_than_asked(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> None:
    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app, host="127.0.0.1", handler_cancellation=True) as server:
        endpoint = Endpoint("orchestrator", [f"http://127.0.0.1:{server.port}"])
        with anyio.fail_after(20), pytest.raises(CommandError, match=r"did not answer within 0\.3 s"):
            await anyio.to_thread.run_sync(lambda: ask(endpoint, "GET", "/", timeout_s=0.3), abandon_on_cancel=True)


async def test_the_first_orchestrator_that_takes_the_connection_is_asked(
    gateway: StandIn, busbar: Busbar, tmp_path: Path
) -> None:
    write_state(tmp_path, [f"http://127.0.0.1:{free_port()}", gateway.url])
    gateway.answer("/v1/query", answered({"content": [{"type": "text", "text": "hello"}]}))
    assert await busbar("query", "s", "t", "--state-dir", str(tmp_path), BUSBAR_KEY="") == Done(0, "hello\n", "")
    assert gateway.requests[-1].headers["authorization"] == "Bearer bb_of_the_run"


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/query", answered({"content": []}))
    assert (await busbar("query", "s", "t", HTTP_PROXY=f"http://127.0.0.1:{free_port()}")).status == 0


async def test_tools_of_all_pages_are_listed(gateway: StandIn, busbar: Busbar) -> None:
    def page(request: web.Request) -> web.Response:
        number = int(request.query.get("cursor", "0"))
        tool = {"name": f"tool_{number}", "description": "\n  First line.\n  More."}
        item = {"server": "s", "version": "1.0.0", "tool": tool}
        return web.json_response({"tools": [item], "next_cursor": str(number + 1) if number < 2 else None})

    gateway.answers["/v1/tools"] = page
    done = await busbar("tools", "s", "-q", "tool")
    assert [line.split() for line in done.out.splitlines()[1:]] == [
        ["s", "1.0.0", f"tool_{number}", "First", "line."] for number in range(3)
    ]
    assert dict(gateway.requests[0].query) == {"server": "s", "q": "tool"}
    assert len(json.loads((await busbar("tools", "--json")).out)["tools"]) == 3


async def test_no_tools_is_no_failure(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/tools", {"tools": [], "next_cursor": None})
    done = await busbar("tools")
    assert (done.status, done.out) == (0, "")


def write_state(folder: Path, orchestrators: list[str], other: str = "") -> dict[str, object]:
    shown: dict[str, object] = {
        "orchestrators": orchestrators,
        "health": other or orchestrators[-1],
        "admin": other or orchestrators[-1],
        "nats": "nats://user:secret@127.0.0.1:4222",
        "redis": "redis://:secret@127.0.0.1:6379",
        "keys": {"query": "bb_of_the_run", "admin": "bb_admin_of_the_run"},
        "pids": {"nats": os.getpid()},
    }
    (folder / "state.json").write_text(json.dumps({**shown, "supervisor": os.getpid()}))
    return shown


SERVERS = {
    "servers": [
        {"name": "down", "status": "disconnected", "versions": [], "tools": 0},
        {
            "name": "up",
            "status": "connected",
            "versions": [{"version": "1.0.0", "weight": 100.0, "instances": 3}],
            "tools": 4,
        },
    ]
}
HEALTH = {
    "status": "degraded",
    "mcp_servers": {
        "down": {"status": "disconnected", "error": "Connection refused", "last_check": "2024-01-20T10:00:00Z"},
        "up": {"status": "connected", "latency_ms": 45, "last_check": "2024-01-20T10:00:00Z"},
    },
    "cache_stats": {"hit_rate": 0.75, "entries": 150},
}
WORKER = {"instance": "q7", "server": "up", "version": "1.0.0", "state": "serving", "in_flight": 2}
WORKERS = {"workers": [{**WORKER, "started_at": "2024-01-20T10:00:00Z"}]}


async def test_status_tells_why_a_server_is_down_and_where_its_stderr_is(
    gateway: StandIn, busbar: Busbar, tmp_path: Path
) -> None:
    shown = write_state(tmp_path, [gateway.url])
    (tmp_path / "servers").mkdir()
    (tmp_path / "servers" / "down.q1.log").touch()
    gateway.answer("/v1/servers", SERVERS)
    gateway.answer("/health/mcp", {**HEALTH, "status": "unhealthy"}, 503)
    gateway.answer("/v1/workers", WORKERS)
    done = await busbar("status", "--state-dir", str(tmp_path))
    assert (done.status, done.err) == (0, "")
    headline, _, _, down, up, _, _, worker, _, _, process = done.out.splitlines()
    assert headline == "unhealthy: 1 of 2 servers connected; cache: 150 entries, 75% hits"
    assert down.split(maxsplit=3)[:2] == ["down", "disconnected"]
    assert down.endswith(f"Connection refused; its stderr: {tmp_path / 'servers' / 'down.q1.log'}")
    assert up.split() == ["up", "connected", "1.0.0", "×3", "(100", "%)", "4", "45", "ms"]
    assert worker.split()[:5] == ["q7", "up", "1.0.0", "serving", "2"]
    assert process.split() == ["nats", str(os.getpid()), "runs"]
    keys = {request.path: request.headers.get("authorization") for request in gateway.requests}
    assert keys == {
        "/v1/servers": f"Bearer {KEY}",
        "/health/mcp": None,
        "/v1/workers": "Bearer bb_admin_of_the_run",
    }
    as_json = await busbar("status", "--json", "--state-dir", str(tmp_path))
    assert json.loads(as_json.out) == shown
    assert len(as_json.out.splitlines()) == 1


async def test_status_shows_what_is_reachable(gateway: StandIn, busbar: Busbar, tmp_path: Path) -> None:
    write_state(tmp_path, [gateway.url], other=f"http://127.0.0.1:{free_port()}")
    gateway.answer("/v1/servers", SERVERS)
    done = await busbar("status", "--state-dir", str(tmp_path))
    assert done.status == 0
    assert "disconnected" in done.out
    health, admin = done.err.splitlines()
    assert health.startswith("the health service cannot be reached")
    assert admin.startswith("the admin service cannot be reached")


async def test_status_of_a_system_elsewhere_is_json_too(gateway: StandIn, busbar: Busbar) -> None:
    gateway.answer("/v1/servers", SERVERS)
    gateway.answer("/health/mcp", HEALTH)
    done = await busbar("status", "--json", BUSBAR_HEALTH_URL=gateway.url)
    document = json.loads(done.out)
    assert document["servers"] == SERVERS
    assert document["health"]["mcp_servers"]["down"]["error"] == "Connection refused"
    assert document["workers"] is None


async def test_a_server_cannot_choose_which_files_are_looked_for(
    gateway: StandIn, busbar: Busbar, tmp_path: Path
) -> None:
    write_state(tmp_path, [gateway.url])
    (tmp_path / "servers").mkdir()
    (tmp_path / "secret.x.log").touch()
    listed = {"name": "../secret", "status": "disconnected", "versions": [], "tools": 0}
    gateway.answer("/v1/servers", {"servers": [listed]})
    done = await busbar("status", "--state-dir", str(tmp_path))
    assert "../secret" in done.out
    assert ".log" not in done.out


async def test_watching_in_a_pipe_tells_each_change_in_a_line_until_ctrl_c(gateway: StandIn, tmp_path: Path) -> None:
    gateway.answer("/v1/servers", SERVERS)
    environ = {**os.environ, "BUSBAR_URL": gateway.url, "BUSBAR_KEY": KEY}
    command = [sys.executable, "-m", "services.cli", "status", "--watch"]
    with anyio.fail_after(30):
        async with await anyio.open_process(command, cwd=tmp_path, env=environ) as process:
            assert process.stdout is not None
            lines = Lines(process.stdout)
            assert (await lines.next()).split()[1:] == ["down", "disconnected"]
            assert (await lines.next()).split()[1:3] == ["up", "connected"]
            gateway.answer("/v1/servers", {"servers": [{**SERVERS["servers"][0], "status": "connected"}]})
            assert (await lines.next()).split()[1:] == ["down", "connected"]
            gateway.answer("/v1/servers", problem("unauthorized", 401), 401)
            assert "unauthorized" in await lines.next()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert process.stderr is not None
            assert b"".join([chunk async for chunk in process.stderr]) == b""


class Lines:
    """The lines of a stream, one at a time."""

    def __init__(self, stream: anyio.abc.ByteReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    async def next(self) -> str:
        while b"\n" not in self._rest:
            self._rest += await self._stream.receive()
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


async def test_ctrl_c_of_a_query_ends_it_without_a_traceback(tmp_path: Path) -> None:
    asked, gone = anyio.Event(), anyio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        asked.set()
        try:
            await anyio.sleep(60)
        finally:
            gone.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/query", slow)
    async with TestServer(app, host="127.0.0.1", handler_cancellation=True) as server:
        environ = {**os.environ, "BUSBAR_URL": f"http://127.0.0.1:{server.port}"}
        command = [sys.executable, "-m", "services.cli", "query", "s", "t"]
        with anyio.fail_after(30):
            async with await anyio.open_process(command, cwd=tmp_path, env=environ) as process:
                await asked.wait()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 130
                assert process.stderr is not None
                assert b"".join([chunk async for chunk in process.stderr]) == b""
            await gone.wait()  # the gateway can stop working on it


async def test_a_reader_that_has_gone_is_no_traceback(gateway: StandIn, tmp_path: Path) -> None:
    item = {"server": "s", "version": "1.0.0", "tool": {"name": "t", "description": "x" * 100}}
    gateway.answer("/v1/tools", {"tools": [item] * 2000, "next_cursor": None})
    environ = {**os.environ, "BUSBAR_URL": gateway.url, "BUSBAR_KEY": KEY}
    reading, writing = os.pipe()
    os.close(reading)
    with anyio.fail_after(30):
        done = await anyio.run_process(
            [sys.executable, "-m", "services.cli", "tools"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            cwd=tmp_path,
            env=environ,
        )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
