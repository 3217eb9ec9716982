"""Results over streamable HTTP: as JSON or as events in any form, and of any size up to the cap."""

import asyncio

import anyio
import pytest

from services.runtime.errors import ResultTooLargeError
from services.worker.mcp.session import MAX_RESULT_BYTES, Hearing
from tests.support.http_sessions import ODD_RESULT, call, opened, response
from tests.support.mcp_servers.raw_http import Handler, Request

pytestmark = pytest.mark.anyio

STREAMS = {
    "plain": b"event: message\ndata: %s\n\n",
    "crlf and comments": b": hello\r\n\r\nid: 7\r\nretry: 10\r\ndata: %s\r\n\r\n",
    "carriage returns": b"data: %s\r\r",
    "no space": b"data:%s\n\n",
    "byte order mark": b"\xef\xbb\xbfdata: %s\n\n",
    "an empty event first": b"id: 1\ndata:\n\ndata: %s\n\n",
}


@pytest.mark.parametrize("form", STREAMS.values(), ids=STREAMS.keys())
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_a_response_may_come_as_an_event_in_any_form(form: bytes, *, in_pieces: bool) -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.begin_events()
        stream = form % response(request)
        for piece in [stream[i : i + 1] for i in range(len(stream))] if in_pieces else [stream]:
            await request.write(piece)
            await asyncio.sleep(0)
        await request.wait_until_closed(reader)

    async with opened(handler) as (_, session):
        with anyio.fail_after(10):
            assert await call(session) == ODD_RESULT


async def test_an_event_of_several_lines_of_data_is_one_message() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.begin_events()
        await request.write(b'data: {"jsonrpc":"2.0",\ndata: "id":%d,"result":{}}\n\n' % request.json["id"])

    async with opened(handler) as (_, session):
        assert await call(session) == b"{}"


async def test_progress_comes_before_the_response_on_its_stream() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.begin_events()
        for _ in range(2):
            await request.write(b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"p": 1.0}}\n\n')
        await request.write(b"data: %s\n\n" % response(request))

    progress: list[bytes] = []
    async with opened(handler) as (server, session):
        assert await call(session, hearing=Hearing(progress.append)) == ODD_RESULT
    assert progress == [b'{"p": 1.0}'] * 2
    assert server.requests[0].json["params"]["_meta"]["progressToken"] == server.requests[0].json["id"]


@pytest.mark.parametrize("as_event", [False, True])
@pytest.mark.parametrize("size", [3_000_000, MAX_RESULT_BYTES])
async def test_a_result_up_to_the_cap_arrives(size: int, *, as_event: bool) -> None:
    result = b'{"x":"' + b"x" * (size - 8) + b'"}'

    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        if as_event:
            await request.begin_events()
            await request.write(b"data: %s\n\n" % response(request, result))
        else:
            await request.result(result)

    async with opened(handler) as (_, session):
        assert await call(session) == result


async def announce_too_much(request: Request, reader: asyncio.StreamReader) -> None:
    await request.write(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n{")
    await request.wait_until_closed(reader)


async def answer_one_byte_too_many(request: Request, reader: asyncio.StreamReader) -> None:
    await request.result(b'{"x":"' + b"x" * (MAX_RESULT_BYTES - 7) + b'"}')


async def send_for_ever(request: Request, reader: asyncio.StreamReader) -> None:
    await request.write(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
    while True:
        await request.write(b" " * 2**20)


async def send_an_event_for_ever(request: Request, reader: asyncio.StreamReader) -> None:
    await request.begin_events()
    while True:
        await request.write(b"data: " + b"x" * 2**20 + b"\n")


TOO_LARGE = [announce_too_much, answer_one_byte_too_many, send_for_ever, send_an_event_for_ever]


@pytest.mark.parametrize("excess", TOO_LARGE, ids=lambda excess: excess.__name__)
async def test_a_result_over_the_cap_is_not_read_on(excess: Handler) -> None:
    async with opened(excess) as (_, session):
        with anyio.fail_after(20), pytest.raises(ResultTooLargeError):
            await call(session, timeout_s=30)
