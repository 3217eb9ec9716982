"""The streamable HTTP transport against a server whose every byte the test writes."""

import asyncio
import json
from contextlib import AsyncExitStack

import anyio
import pytest

from services.runtime.errors import (
    DeadlineExceededError,
    NoWorkerError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.worker.mcp import http_pool
from services.worker.mcp.session import OpenError
from tests.support.http_sessions import ODD_RESULT, call, opened, opener, response
from tests.support.mcp_servers.raw_http import DISCOVERED, Handler, Request, raw_server
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio


async def refuse_redirect(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(status=307, headers="location: /elsewhere\r\n")


async def forbid(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b"Forbidden", status=403, kind="text/plain")


async def accept_only(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(status=202)


async def answer_html(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b"<html>", kind="text/html")


async def answer_nan(request: Request, reader: asyncio.StreamReader) -> None:
    await request.result(b'{"x":NaN}')


async def answer_somebody_else(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"jsonrpc":"2.0","id":999,"result":{}}')


async def hang_up(request: Request, reader: asyncio.StreamReader) -> None:
    request.writer.close()


async def hang_up_in_the_body(request: Request, reader: asyncio.StreamReader) -> None:
    await request.write(b'HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{"jsonrpc"')
    request.writer.close()


async def hang_up_in_the_stream(request: Request, reader: asyncio.StreamReader) -> None:
    await request.begin_events()
    await request.write(b": ping\n\n")
    request.writer.close()


async def speak_no_http(request: Request, reader: asyncio.StreamReader) -> None:
    await request.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    request.writer.close()


FAULTS = [
    refuse_redirect,
    forbid,
    accept_only,
    answer_html,
    answer_nan,
    answer_somebody_else,
    hang_up,
    hang_up_in_the_body,
    hang_up_in_the_stream,
    speak_no_http,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_of_the_server_fails_the_call_which_is_sent_only_once(fault: Handler) -> None:
    async with opened(fault) as (server, session):
        with anyio.fail_after(5), pytest.raises(UpstreamError):
            await call(session)
        assert len(server.requests) == 1
        # The session is none the worse for it.
        assert await session.probe(5) > 0


async def test_a_result_is_the_servers_own_bytes() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.result(ODD_RESULT)

    async with opened(handler) as (_, session):
        assert await call(session) == ODD_RESULT


async def test_a_request_says_what_the_protocol_wants_and_nothing_of_the_caller_that_was_not_given() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.result(b"{}")

    async with opened(handler) as (server, session):
        meta = {"traceparent": "00-1", "progressToken": "theirs", "io.modelcontextprotocol/clientInfo": {"name": "c"}}
        await session.request(
            "resources/read",
            '{"uri":"x:ü"}'.encode(),
            timeout_s=5,
            meta=meta,
            headers={"x-tenant": "t", "mcp-name": "forged", "x-secret": "forged"},
        )
        await session.request("tools/list", b" {} ", timeout_s=5)
    read, listed = server.requests
    assert read.method == "POST"
    assert read.headers["content-type"] == "application/json"
    assert read.headers["mcp-protocol-version"] == "2026-07-28"
    assert read.headers["mcp-method"] == "resources/read"
    assert read.headers["mcp-name"] == "=?base64?eDrDvA==?="
    assert read.headers["x-secret"] == "configured"
    assert read.headers["x-tenant"] == "t"
    assert read.json["params"]["uri"] == "x:ü"
    assert read.json["params"]["_meta"] == {
        "traceparent": "00-1",
        "io.modelcontextprotocol/clientInfo": {"name": "c"},
        "io.modelcontextprotocol/clientCapabilities": {
            "elicitation": {"form": {}, "url": {}},
            "sampling": {"tools": {}},
            "roots": {},
        },
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    }
    assert "mcp-name" not in listed.headers
    assert "x-tenant" not in listed.headers
    assert listed.json["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"] == "busbar"


async def test_annotated_arguments_are_mirrored_and_tools_with_wrong_annotations_are_not_offered() -> None:
    good = {"name": "x", "inputSchema": {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}}
    bad = {"name": "y", "inputSchema": {"properties": {"region": {"type": "number", "x-mcp-header": "Region"}}}}

    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.result(json.dumps({"tools": [good, bad]}).encode())

    async with opened(handler) as (server, session):
        catalogue = await session.catalogue()
        await session.request("tools/call", b'{"name":"x","arguments":{"region":"eu"}}', timeout_s=5)
    assert catalogue.tools == [good]
    assert server.requests[-1].headers["mcp-param-region"] == "eu"


async def test_lists_are_read_to_their_last_page() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        page = int(request.json["params"].get("cursor", "0"))
        more = {"nextCursor": str(page + 1)} if page < 2 else {}
        await request.result(json.dumps({"tools": [{"name": f"t{page}"}], **more}).encode())

    async with opened(handler) as (_, session):
        catalogue = await session.catalogue()
    assert [tool["name"] for tool in catalogue.tools] == ["t0", "t1", "t2"]


async def test_an_error_is_the_servers_own_bytes_whatever_the_status() -> None:
    error = b'{"code":-32602, "message":"no","data":[1.0]}'

    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.error(400, error)

    async with opened(handler) as (_, session):
        with pytest.raises(UpstreamRefusedError) as refusal:
            await call(session)
    assert refusal.value.mcp_error == error


async def test_a_timeout_and_a_cancellation_close_the_stream() -> None:
    began = asyncio.Event()
    closed = asyncio.Event()

    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        began.set()
        await request.wait_until_closed(reader)
        closed.set()

    async with opened(handler) as (_, session):
        with anyio.fail_after(5):
            with pytest.raises(DeadlineExceededError):
                await call(session, timeout_s=0.1)
            await closed.wait()
            began.clear()
            closed.clear()
            caller = asyncio.ensure_future(call(session))
            await began.wait()
            caller.cancel()
            await closed.wait()
            assert caller.cancelled()


async def test_a_call_to_a_server_that_is_not_there_was_certainly_not_executed() -> None:
    port = free_port()

    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.answer(response(request, b"{}"), headers="connection: close\r\n")

    async with AsyncExitStack() as stack:
        async with raw_server(handler, port=port) as server:
            session = await stack.enter_async_context(opener(server.url).open())
            assert await call(session) == b"{}"
        with pytest.raises(NoWorkerError):
            await call(session)
        with pytest.raises(NoWorkerError):
            await session.probe(5)
        async with raw_server(handler, port=port):
            assert await call(session) == b"{}"


async def test_one_failed_call_harms_no_other() -> None:
    release = asyncio.Event()

    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        if len(server.requests) % 2:
            request.writer.close()
            return
        await release.wait()
        await request.result(b"{}")

    async with opened(handler) as (server, session):
        calls = [asyncio.ensure_future(call(session)) for _ in range(20)]
        with anyio.fail_after(10):
            while sum(done.done() for done in calls) < 10:
                await asyncio.wait([running for running in calls if not running.done()], return_when="FIRST_COMPLETED")
            release.set()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes.count(b"{}") == 10
    assert sum(isinstance(outcome, UpstreamError) for outcome in outcomes) == 10


async def test_calls_in_a_row_share_a_connection_and_calls_at_once_have_one_each() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.result(b"{}")

    async with opened(handler) as (server, session):
        for _ in range(5):
            await call(session)
        assert server.connections == 1
        await asyncio.gather(*(call(session) for _ in range(150)))
        assert server.connections == 150


async def test_a_connection_that_has_been_idle_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "KEEP_ALIVE_S", 0.1)

    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.result(b"{}")

    async with opened(handler) as (server, session):
        await call(session)
        await anyio.sleep(0.3)
        await call(session)
        assert server.connections == 2


async def test_cookies_are_not_kept() -> None:
    async def handler(request: Request, reader: asyncio.StreamReader) -> None:
        await request.answer(response(request), headers="set-cookie: a=b; path=/\r\n")

    # By name: cookies of bare addresses are dropped anyway.
    async with raw_server(handler) as server, opener(server.url.replace("127.0.0.1", "localhost")).open() as session:
        await call(session)
        await call(session)
    assert "cookie" not in server.requests[1].headers


async def test_a_server_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(OpenError) as error:
        async with opener(f"http://127.0.0.1:{free_port()}/mcp").open():
            pass
    assert error.value.fault == "Connection refused"


async def test_a_version_that_is_refused_although_the_server_knows_it_is_offered_once_more() -> None:
    unsupported = (
        b'{"code":-32022,"message":"Unsupported","data":{"supported":["2026-07-28"],"requested":"2026-07-28"}}'
    )

    async def refuse_once(request: Request, reader: asyncio.StreamReader) -> None:
        if len(server.requests) == 1:
            await request.error(400, unsupported)
        else:
            await request.result(DISCOVERED)

    async with raw_server(refuse_once, discovers=False) as server, opener(server.url).open() as session:
        assert session.server_info.era == "modern"
    assert [request.json["method"] for request in server.requests] == ["server/discover"] * 2


async def test_a_version_that_is_refused_for_others_is_not_offered_again() -> None:
    async def refuse(request: Request, reader: asyncio.StreamReader) -> None:
        await request.error(400, b'{"code":-32022,"message":"Unsupported","data":{"supported":["2099-01-01"]}}')

    async with raw_server(refuse, discovers=False) as server:
        with pytest.raises(OpenError):
            async with opener(server.url).open():
                pass
    assert [request.json["method"] for request in server.requests] == ["server/discover", "initialize"]


async def test_a_server_that_is_not_mcp_is_told_as_such() -> None:
    async with raw_server(forbid, discovers=False) as server:
        with pytest.raises(OpenError) as error:
            async with opener(server.url).open():
                pass
    assert error.value.fault == "Protocol error"
