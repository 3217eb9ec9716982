"""The HTTP client of sessions against a server whose every byte the test writes, on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import anyio
import pytest

from services.worker.mcp import http_connection, http_pool
from services.worker.mcp.client import Client, open_client
from services.worker.mcp.http_connection import HttpConnection, HttpError, Response
from services.worker.mcp.http_pool import ConnectError
from services.worker.mcp.transport import Exchange
from tests.support.certificates import serving_context
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Server:
    """Reads requests and says what the test wants, one saying for each; the last one for all that follow."""

    def __init__(self, *sayings: bytes | Say) -> None:
        self.sayings = list(sayings)
        self.requests: list[bytes] = []
        self.connections = 0
        self.lost = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")), b": 0")
                self.requests.append(head + await reader.readexactly(int(length.partition(b": ")[2])))
                saying = self.sayings.pop(0) if len(self.sayings) > 1 else self.sayings[0]
                if isinstance(saying, bytes):
                    writer.write(saying)
                else:
                    await saying(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.lost.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(*sayings: bytes | Say) -> AsyncIterator[tuple[Server, Client]]:
    server = Server(*sayings)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/mcp?a=b"
    async with listening, open_client(server.url, {"x-configured": "1"}, None) as client:
        with anyio.fail_after(10):
            yield server, client


async def ask(client: Client, data: bytes = b"{}") -> bytes:
    with await client.send("POST", {}, data=data) as response:
        return await whole_body(response)


async def whole_body(response: Response) -> bytes:
    parts = []
    while part := await response.part():
        parts.append(part)
    return b"".join(parts)


async def then_close(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nas long as it lives")
    writer.close()


async def test_a_request_says_what_it_must() -> None:
    async with serving(WHOLE) as (server, client):
        await ask(client)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /mcp?a=b HTTP/1.1"
    assert {b"x-configured: 1", b"content-length: 2", b"accept-encoding: identity"} < set(lines)
    assert b"host: " + server.url.split("/")[2].encode() in lines
    assert body == b"{}"


async def test_who_is_named_in_the_url_is_told_as_http_does() -> None:
    async with serving(WHOLE) as (server, _):
        url = server.url.replace("//", "//user:pass%20word@")
        async with open_client(url, {}, None) as client:
            await ask(client)
    assert b"authorization: Basic dXNlcjpwYXNzIHdvcmQ=" in server.requests[0].split(b"\r\n")


@pytest.mark.parametrize(
    "whole",
    [
        WHOLE,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
    ],
    ids=["sized", "after others", "chunked"],
)
@pytest.mark.parametrize("piece", [1, 1000])
async def test_a_connection_is_used_again_after_a_whole_response(whole: bytes, piece: int) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(whole), piece):
            writer.write(whole[at : at + piece])
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(say) as (server, client):
        assert [await ask(client) for _ in range(3)] == [b"ok"] * 3
        assert server.connections == 1


@pytest.mark.parametrize(
    "last",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
    ids=["close", "1.0"],
)
async def test_a_connection_that_the_server_will_close_is_not_used_again(last: bytes) -> None:
    async with serving(last) as (server, client):
        assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
        assert server.connections == 2


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async with serving(then_close) as (server, client):
        assert await ask(client) == b"as long as it lives"
        await ask(client)
        assert server.connections == 2


async def test_a_response_without_a_body_is_whole_at_once() -> None:
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n") as (server, client):
        assert [await ask(client), await ask(client)] == [b"", b""]
        assert server.connections == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-len",
        b"",
    ],
    ids=["body", "chunks", "head", "nothing"],
)
async def test_a_response_that_breaks_off_is_none(broken: bytes) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(broken)
        writer.close()

    async with serving(say) as (_, client):
        exchange = Exchange(1, b"")
        with pytest.raises(HttpError):
            with await client.send("POST", {}, data=b"{}", exchange=exchange) as response:
                await whole_body(response)
        assert exchange.was_sent


@pytest.mark.parametrize("rubbish", [b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000], ids=["ssh", "head"])
async def test_what_is_no_http_or_never_comes_to_its_body_fails_the_request(rubbish: bytes) -> None:
    async with serving(rubbish) as (server, client):
        with pytest.raises(HttpError):
            await ask(client)
        await server.lost.wait()


@pytest.mark.parametrize("piece", [10, 1000])
async def test_a_second_response_to_one_request_is_nobodys(piece: int) -> None:
    twice = WHOLE + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(twice[: len(WHOLE) + piece])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(twice[len(WHOLE) + piece :])

    async with serving(say) as (server, client):
        assert await ask(client) == b"ok"
        assert await ask(client) == b"ok"
        assert server.connections == 2


async def test_a_connection_on_which_something_comes_unasked_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_pool, "KEEP_ALIVE_S", 60.0)

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\n")

    async with serving(say) as (server, client):
        await ask(client)
        await server.lost.wait()
        assert await ask(client) == b"ok"
        assert server.connections == 2


async def test_a_rest_that_nobody_wants_does_not_cost_the_connection_if_it_comes_at_once() -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"4\r\nmore\r\n0\r\n\r\n")

    async with serving(say) as (server, client):
        for _ in range(3):
            with await client.send("POST", {}, data=b"{}") as response:
                assert await response.part() == b"ok"
            await asyncio.sleep(0.1)
        assert server.connections == 1


@pytest.mark.parametrize("rest", [b"", b"x" * 2**20], ids=["slow", "long"])
async def test_who_does_not_want_the_rest_closes_the_connection(rest: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "_REST_S", 60.0 if rest else 0.05)
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nok" + rest) as (server, client):
        with await client.send("POST", {}, data=b"{}") as response:
            assert response.status == 200
        await server.lost.wait()


async def test_who_gives_up_a_body_closes_the_connection_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "_REST_S", 60.0)
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok") as (server, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(client)
        await server.lost.wait()


async def test_a_large_answer_in_one_write_leaves_its_connection_as_it_was() -> None:
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 150000\r\n\r\n" + b"x" * 150_000
    async with serving(large) as (server, client):
        assert [len(await ask(client)) for _ in range(3)] == [150_000] * 3
        assert server.connections == 1


async def test_trailers_are_no_headers_of_the_next_response() -> None:
    trailing = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-evil: 1\r\n\r\n"
    async with serving(trailing, WHOLE) as (server, client):
        assert await ask(client) == b"ok"
        with await client.send("POST", {}, data=b"{}") as response:
            assert response.headers == {"content-length": "2"}
        assert server.connections == 1


async def test_trailers_without_an_end_fail_the_request() -> None:
    endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x-more: y\r\n" * 10_000
    async with serving(endless) as (server, client):
        with pytest.raises(HttpError):
            await ask(client)
        await server.lost.wait()


async def test_who_is_cancelled_with_the_whole_response_takes_nobodys_connection() -> None:
    transport = Mock(is_closing=Mock(return_value=False))
    connection = HttpConnection(lambda _: None, lambda _: None)
    connection.connection_made(transport)
    first = asyncio.create_task(connection.ask(b"", lambda: None))
    await asyncio.sleep(0)
    second = asyncio.create_task(connection.ask(b"", lambda: None))
    connection.data_received(WHOLE)
    first.cancel()
    await asyncio.wait([first])
    connection.data_received(WHOLE)
    assert (await second).status == 200
    assert not transport.abort.called


async def test_nothing_is_sent_through_a_client_that_is_closed() -> None:
    async with serving(WHOLE) as (server, _):
        async with open_client(server.url, {}, None) as closed:
            pass
        with pytest.raises(ConnectError):
            await ask(closed)
        assert server.requests == []


async def test_who_gives_up_before_there_is_a_response_closes_the_connection() -> None:
    async def say_nothing(_: asyncio.StreamWriter) -> None:
        """As it says."""

    async with serving(say_nothing) as (server, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(client)
        await server.lost.wait()


async def test_a_body_that_nobody_reads_makes_the_server_wait_and_is_complete_in_the_end() -> None:
    size, said = 64 * 2**20, 0

    async def say(writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(64):
            writer.write(b"x" * 2**20)
            await writer.drain()
            said += 2**20

    async with serving(say) as (_, client):
        with await client.send("POST", {}, data=b"{}") as response:
            await asyncio.sleep(0.3)
            assert said < size / 2
            assert len(await whole_body(response)) == size
        assert await ask(client) == b"x" * size


async def test_a_header_never_becomes_two() -> None:
    async with serving(WHOLE) as (server, client):
        exchange = Exchange(1, b"")
        with pytest.raises(HttpError):
            await client.send("POST", {"x-a": "b\r\nx-evil: 1"}, data=b"{}", exchange=exchange)
        assert not exchange.was_sent
        assert server.connections == 0


async def test_where_nobody_listens_nothing_is_sent() -> None:
    async with open_client(f"http://127.0.0.1:{free_port()}/", {}, None) as client:
        exchange = Exchange(1, b"")
        with pytest.raises(ConnectError):
            await client.send("POST", {}, data=b"{}", exchange=exchange)
        assert not exchange.was_sent


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "KEEP_ALIVE_S", 0.05)
    async with serving(WHOLE) as (server, client):
        await ask(client)
        await server.lost.wait()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_server_with_a_certificate_is_reached_if_it_is_trusted(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured, trusted = serving_context(tmp_path)
    server = Server(WHOLE)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=secured)
    url = f"https://{host}:{listening.sockets[0].getsockname()[1]}/"
    http_pool._trusted.cache_clear()
    async with listening:
        async with open_client(url, {}, None) as client:
            exchange = Exchange(1, b"")
            with pytest.raises(ConnectError):
                await client.send("POST", {}, data=b"{}", exchange=exchange)
            assert (server.requests, exchange.was_sent) == ([], False)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        http_pool._trusted.cache_clear()
        async with open_client(url, {}, None) as client:
            assert [await ask(client), await ask(client)] == [b"ok", b"ok"]
            assert server.connections == 1
    http_pool._trusted.cache_clear()
