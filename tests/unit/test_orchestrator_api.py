"""The HTTP side of a query: whose requests get as far, and what is told to those that do not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import anyio
import httpx
import pytest
from fastapi import FastAPI

from services.orchestrator import api, intake
from services.orchestrator.admission import Admission
from services.orchestrator.context import Context
from services.orchestrator.direct_routes import DirectRoutes
from services.orchestrator.lists import Lists
from services.orchestrator.mcp.conversation import Answered, Conversation, Say
from services.orchestrator.state import OrchestratorState
from services.runtime.auth.principals import ANONYMOUS, Principal
from services.runtime.http import create_service
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from services.runtime.listening import bind
from services.runtime.plain_heads import PlainHead
from services.runtime.serving import serve
from tests.unit.test_orchestrator_query import Gateway

pytestmark = pytest.mark.anyio

Authenticate = Callable[[str | None, Iterable[str]], Awaitable[Principal]]

HEAD = b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


async def anybody(_authorization: str | None, _header_names: Iterable[str]) -> Principal:
    return ANONYMOUS


async def bug(_authorization: str | None, _header_names: Iterable[str]) -> Principal:
    raise ZeroDivisionError("secret")


class Speaking:
    """A front whose every request has the same course."""

    def __init__(self, admission: Admission, answering: Callable[[bytes, Say], Awaitable[Answered]]) -> None:
        self._admission = admission
        self._answering = answering

    async def reply(self, body: bytes, _server: str | None, _context: Context) -> Conversation:
        return Conversation(partial(self._answering, body), self._admission, takes_events=True)


@asynccontextmanager
async def serving(
    gateway: Gateway, authenticate: Authenticate = anybody, front: Speaking | None = None
) -> AsyncIterator[int]:
    """Serve the gateway over HTTP; yield the port."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
        nothing = cast("Lists", None)
        state = OrchestratorState(gateway.queries, gateway.admission, nothing, authenticate)
        yield {"orchestrator": state, "mcp": SimpleNamespace(front=front), "readiness": lambda: None}

    async def leave() -> None:
        """At once."""

    async with Lifecycle() as life:
        app = create_service("Test", lifespan=lifespan, life=life, registry=gateway.registry, names=Names())
        app.include_router(api.router)
        with bind("127.0.0.1", 0) as listener:
            route = DirectRoutes(app, names=Names(), life=life, rules=None)
            server = asyncio.create_task(serve(route, listener, life, leave=leave, drain_s=5))
            listener.listen()
            yield listener.getsockname()[1]
            life.stop()
            await server


async def test_a_body_that_does_not_come_in_time_is_a_timeout_and_the_end_of_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_BODY_TIMEOUT_S", 0.2)
    gateway = Gateway()
    with anyio.fail_after(10):
        async with serving(gateway) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b'{"server":')
            answer = await reader.read()  # to its end
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 504")
    assert b"connection: close" in head
    assert b'"code":"timeout"' in body
    assert b'"executed":"no"' in body
    assert gateway.errors("unknown", "timeout") == 1
    assert gateway.admission.held_bytes == 0


QUERY = {"server": "a", "tool": "t"}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 404, "server_not_found"),
        ({"host": "evil.example"}, 421, "misdirected_request"),
        ({"origin": "http://evil.example"}, 403, "forbidden"),
    ],
    ids=["ours", "host", "origin"],
)
async def test_a_query_passes_the_guard_of_host_and_origin(headers: dict[str, str], status: int, code: str) -> None:
    async with serving(Gateway()) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        refused = await http.post("/v1/query", json=QUERY, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/v1/query", "/mcp"])
async def test_a_bug_on_the_short_way_is_told_without_its_text(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Gateway(), bug) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        answer = await http.post(path, json=QUERY)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "request failed" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "query", "is_direct"),
    [
        ("POST", "/v1/query", b"", True),
        ("POST", "/v1/query", b"a=b", True),
        ("POST", "/mcp", b"", True),
        ("POST", "/servers/a-b_C1/mcp", b"", True),
        ("GET", "/mcp", b"", False),
        ("GET", "/v1/query", b"", False),
        ("POST", "/mcp", b"tools=search", False),
        ("POST", "/servers/a%62/mcp", b"", False),
        ("POST", "/servers/mcp", b"", False),
        ("POST", "/mcp/", b"", False),
        ("POST", "/servers/mcp/mcp", b"", True),
        ("POST", "/v1/tools", b"", False),
    ],
)
async def test_only_what_comes_often_goes_the_short_way(method: str, path: str, query: bytes, is_direct: bool) -> None:
    routes = DirectRoutes(FastAPI(), names=Names(), life=Lifecycle(), rules=None)
    for host, is_ours in ((b"localhost", True), (b"evil.example", False)):
        answering = routes.direct(PlainHead(method, path, query, [(b"host", host)], 0))
        assert (answering is not None) == (is_direct and is_ours)


async def test_a_stream_that_goes_on_for_hours_does_not_go_the_short_way() -> None:
    routes = DirectRoutes(FastAPI(), names=Names(), life=Lifecycle(), rules=None)
    headers = [(b"host", b"localhost"), (b"mcp-method", b"subscriptions/listen")]
    assert routes.direct(PlainHead("POST", "/mcp", b"", headers, 0)) is None


SAID = b'{"jsonrpc":"2.0","method":"x"}'


def post(body: bytes) -> bytes:
    return (
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
async def test_a_request_that_comes_in_the_turn_in_which_a_stream_ends_is_answered() -> None:
    gateway = Gateway()
    caller = socket.socket()  # writes at once, whatever turn it is
    caller.settimeout(5)

    async def answering(body: bytes, say: Say) -> Answered:
        if body == b"two":
            await asyncio.sleep(0.01)
            return Answered(b'{"second":2}')
        say(SAID)
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon(end_of_turn)
        return Answered(b'{"first":1}')

    def end_of_turn() -> None:
        caller.sendall(post(b"two"))

    def read() -> bytes:
        told = b""
        while b'{"second":2}' not in told and (part := caller.recv(65536)):
            told += part
        return told

    async with serving(gateway, front=Speaking(gateway.admission, answering)) as port:
        with caller:
            await asyncio.to_thread(caller.connect, ("127.0.0.1", port))
            caller.sendall(post(b"one"))
            told = await asyncio.to_thread(read)
    assert told.index(b'{"first":1}') < told.index(b'{"second":2}')


async def test_a_bug_after_the_first_event_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway()

    async def answering(_: bytes, say: Say) -> Answered:
        say(SAID)
        await asyncio.sleep(0.01)
        raise ZeroDivisionError("secret")

    async with serving(gateway, front=Speaking(gateway.admission, answering)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"{}"))
        with anyio.fail_after(5):
            told = await reader.read()  # to its end
        writer.close()
    assert told.count(b"HTTP/1.1") == 1
    assert SAID in told
    assert b"secret" not in told
    assert "request failed" in caplog.text


async def test_what_is_no_query_is_left_to_the_app() -> None:
    async with serving(Gateway()) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        asked, wrong, live = await http.get("/v1/query"), await http.post("/v1/nothing"), await http.get("/livez")
    assert (asked.status_code, asked.headers["allow"]) == (405, "POST")
    assert [wrong.status_code, live.status_code] == [404, 200]
