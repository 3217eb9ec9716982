"""An HTTP service over real sockets: however a request comes, plain or not, it is answered alike and in order."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from services.runtime.lifecycle import Lifecycle
from services.runtime.listening import bind
from services.runtime.serving import serve
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

HOST = b"Host: x\r\n"


class App:
    """Says what it was asked; `/large`, `/stream` and `/bug` say it in other ways."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.asked.append(scope["path"])
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        if scope["path"] == "/waits-for-end":
            assert (await receive())["type"] == "http.disconnect"
            self.gone.set()
            return
        await self.may_go_on.wait()
        await self._answer(scope, body, send)

    async def _answer(self, scope: Scope, body: bytes, send: Send) -> None:
        said = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "body": len(body) if len(body) > 1000 else body.decode(),
        }
        answer = b"x" * 300_000 if scope["path"] == "/large" else json.dumps(said).encode()
        headers = [(b"content-type", b"application/json")]
        match scope["path"]:
            case "/stream":
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"first", "more_body": True})
                await asyncio.sleep(0.05)
                await send({"type": "http.response.body", "body": b"last", "more_body": False})
                return
            case "/bug":
                raise RuntimeError("secret")
            case "/splits":
                headers.append((b"x-split", b"a\r\nx-other: b"))
        headers.append((b"content-length", b"%d" % len(answer)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/bug-later":
            raise RuntimeError("secret")
        await send({"type": "http.response.body", "body": answer, "more_body": False})
        if scope["path"] == "/bug-last":
            raise RuntimeError("secret")


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Caller:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        with anyio.fail_after(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            if headers.get("transfer-encoding") == "chunked":
                return Answer(int(first.split()[1]), headers, await self._chunks())
            body = await self.reader.readexactly(int(headers["content-length"]))
            return Answer(int(first.split()[1]), headers, body)

    async def ended(self) -> bool:
        with anyio.fail_after(5):
            return await self.reader.read(1) == b""

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readline()).strip(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body


@dataclass(frozen=True, slots=True)
class Running:
    """A service and how to end it."""

    app: App
    port: int
    life: Lifecycle
    serving: asyncio.Task[None]

    @asynccontextmanager
    async def caller(self) -> AsyncIterator[Caller]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Caller(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    async def leave() -> None:
        await asyncio.sleep(0.01)

    app = App()
    async with Lifecycle() as life:
        with bind("127.0.0.1", 0) as listener:
            serving = asyncio.create_task(serve(app, listener, life, leave=leave, drain_s=5))
            await until(lambda: _accepts(listener.getsockname()[1]))
            yield Running(app, listener.getsockname()[1], life, serving)
            app.may_go_on.set()
            life.stop()
            await serving


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def post(path: str, body: bytes, *more: bytes) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\n" % path.encode()
        + HOST
        + b"".join(more)
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


async def test_a_plain_request_is_answered() -> None:
    async with running() as service, service.caller() as caller:
        for number in range(3):
            caller.send(post("/a?b=c", b"body %d" % number, b"X-Y:  z \r\n"))
            answer = await caller.answer()
            assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
            assert "date" in answer.headers
            assert answer.said == {
                "method": "POST",
                "path": "/a",
                "query": "b=c",
                "headers": [["host", "x"], ["x-y", "z"], ["content-length", "6"]],
                "body": f"body {number}",
            }


@pytest.mark.parametrize("pause_s", [0.0, 0.05, 1.3])
async def test_a_request_in_pieces_is_one_request(pause_s: float) -> None:
    """The last of them comes when the short way has given it up."""
    whole = post("/a", b"0123456789")
    async with running() as service, service.caller() as caller:
        for cut in ([len(whole) - 10], [len(whole) - 10, len(whole) - 4], [20], [20, len(whole) - 1]):
            at = 0
            for end in (*cut, len(whole)):
                caller.send(whole[at:end])
                await caller.writer.drain()
                await asyncio.sleep(pause_s)
                at = end
            answer = await caller.answer()
            assert answer.said["body"] == "0123456789"
        assert service.app.asked == ["/a"] * 4


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"),
        (post("/a", b"x" * 200_000), 200_000),
        (b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n", ""),
        (b"PUT /a HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx", "x"),
    ],
)
async def test_one_connection_takes_all_kinds_in_turn(request_: bytes, said: object) -> None:
    async with running() as service, service.caller() as caller:
        for _ in range(2):
            caller.send(post("/plain", b"p"))
            assert (await caller.answer()).said["body"] == "p"
            caller.send(request_)
            assert (await caller.answer()).said["body"] == said


async def test_requests_one_behind_the_other_are_answered_in_their_order() -> None:
    async with running() as service, service.caller() as caller:
        service.app.may_go_on.clear()
        caller.send(post("/0", b""))
        await asyncio.sleep(0.05)
        caller.send(post("/1", b"") + post("/2", b""))
        await asyncio.sleep(0.05)
        caller.send(post("/3", b""))
        await asyncio.sleep(0.05)
        service.app.may_go_on.set()
        assert [(await caller.answer()).said["path"] for _ in range(4)] == ["/0", "/1", "/2", "/3"]
        caller.send(post("/4", b""))
        assert (await caller.answer()).said["path"] == "/4"


async def test_who_says_so_is_the_last_request_of_its_connection() -> None:
    async with running() as service, service.caller() as caller:
        caller.send(post("/plain", b""))
        await caller.answer()
        caller.send(post("/last", b"", b"Connection: close\r\n"))
        answer = await caller.answer()
        assert (answer.said["path"], answer.headers["connection"]) == ("/last", "close")
        assert await caller.ended()


async def test_who_expects_to_be_told_to_go_on_is_told() -> None:
    async with running() as service, service.caller() as caller:
        caller.send(b"POST /a HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        with anyio.fail_after(5):
            assert await caller.reader.readline() == b"HTTP/1.1 100 Continue\r\n"
            await caller.reader.readline()
        caller.send(b"ab")
        assert (await caller.answer()).said["body"] == "ab"


async def test_what_is_malformed_is_refused_behind_the_answer_to_what_was_not() -> None:
    async with running() as service, service.caller() as caller:
        caller.send(post("/plain", b""))
        assert (await caller.answer()).status == 200
        caller.send(b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab")
        assert (await caller.answer()).status == 400
        assert await caller.ended()


async def test_large_and_unmeasured_answers_arrive_whole() -> None:
    async with running() as service, service.caller() as caller:
        caller.send(post("/large", b""))
        assert (await caller.answer()).body == b"x" * 300_000
        caller.send(post("/stream", b""))
        assert (await caller.answer()).body == b"firstlast"
        caller.send(post("/plain", b""))
        assert (await caller.answer()).status == 200


@pytest.mark.parametrize("path", ["/bug", "/bug-later"])
async def test_a_bug_is_a_500_and_nothing_of_what_it_had_begun_to_say(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with running() as service, service.caller() as caller:
        caller.send(post(path, b""))
        answer = await caller.answer()
        assert (answer.status, answer.body) == (500, b"Internal Server Error")


async def test_a_header_that_would_be_two_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    async with running() as service, service.caller() as caller:
        caller.send(post("/splits", b""))
        assert await caller.ended()


async def test_a_bug_behind_an_answer_does_not_take_it_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    async with running() as service, service.caller() as caller:
        caller.send(post("/bug-last", b""))
        assert (await caller.answer()).status == 200
        assert await caller.ended()


async def test_the_app_learns_that_its_caller_has_gone() -> None:
    async with running() as service:
        async with service.caller() as caller:
            caller.send(post("/waits-for-end", b""))
            await asyncio.sleep(0.05)
            assert not service.app.gone.is_set()
        with anyio.fail_after(5):
            await service.app.gone.wait()


async def test_a_caller_that_leaves_before_its_body_leaves_nothing_behind() -> None:
    async with running() as service:
        async with service.caller() as caller:
            caller.send(post("/a", b"0123456789")[:-1])
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.2)
        assert service.app.asked == []


@pytest.mark.parametrize("held_back", [0, 3])
async def test_what_had_begun_at_the_stop_is_answered(held_back: int) -> None:
    """Three bytes of the body are still to come in the second case."""
    async with running() as service, service.caller() as caller:
        service.app.may_go_on.clear()
        whole = post("/a", b"0123456789")
        caller.send(whole[: len(whole) - held_back])
        await asyncio.sleep(0.05)
        service.life.stop()
        await asyncio.sleep(0.7)  # longer than it takes connections that come late
        caller.send(whole[len(whole) - held_back :])
        service.app.may_go_on.set()
        answer = await caller.answer()
        assert (answer.said["body"], answer.headers["connection"]) == ("0123456789", "close")
        assert await caller.ended()
        with anyio.fail_after(5):
            await service.serving


async def test_who_waits_at_the_stop_is_let_go() -> None:
    async with running() as service, service.caller() as caller:
        caller.send(post("/a", b""))
        await caller.answer()
        service.life.stop()
        assert await caller.ended()
