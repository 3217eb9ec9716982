"""OAuth client credentials towards real servers: a token endpoint, and an MCP server behind a bearer check."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest

from services.runtime.config.connections import Connection, OAuth
from services.runtime.errors import DeadlinePassedError, NoWorkerError
from services.runtime.logs import JsonFormatter
from services.worker.mcp import oauth
from services.worker.mcp.keeper import SessionKeeper
from services.worker.mcp.oauth import TokenSource
from services.worker.mcp.opening import SessionOpener
from services.worker.mcp.session import OpenError, Session
from tests.support.fleet import fleet
from tests.support.mcp_servers.protected import CLIENT_ID, CLIENT_SECRET, SCOPE, Running, protected_server
from tests.support.mcp_servers.raw_http import Request, raw_server
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fetches follow each other without a pause; one test is about the pause."""
    monkeypatch.setattr(oauth, "FETCH_APART_S", 0.0)


@pytest.fixture
async def running(anyio_backend: str) -> AsyncIterator[Running]:
    async with protected_server() as running:
        yield running


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def opener(running: Running, transport: Literal["http", "sse"] = "http", **changes: Any) -> SessionOpener:
    options: dict[str, Any] = {"url": running.url, "oauth": running.oauth, **changes}
    return SessionOpener(Connection(transport=transport, cwd=Path(), **options))


async def call(session: Session, timeout_s: float = 10) -> Any:
    return json.loads(await session.request("tools/call", b'{"name":"headers","arguments":{}}', timeout_s=timeout_s))


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_every_request_carries_the_one_token_that_was_fetched(
    running: Running, transport: Literal["http", "sse"]
) -> None:
    async with opener(running, transport).open() as session:
        for _ in range(3):
            told = await call(session)
            assert told["structuredContent"]["authorization"] == f"Bearer {running.endpoint.issued[0]}"
        assert await session.probe(5) > 0
    assert (len(running.endpoint.requests), running.mcp.refused) == (1, [])


async def test_a_session_that_is_opened_anew_goes_on_with_the_token(running: Running) -> None:
    sessions = opener(running)
    for _ in range(2):
        async with sessions.open() as session:
            await call(session)
    assert len(running.endpoint.issued) == 1


async def test_a_hundred_callers_at_a_cold_start_fetch_one_token(running: Running) -> None:
    source = TokenSource(running.oauth)
    running.endpoint.may_answer.clear()
    callers = [asyncio.create_task(source.token()) for _ in range(100)]
    await until(lambda: running.endpoint.requests)
    running.endpoint.may_answer.set()
    with anyio.fail_after(5):
        assert set(await asyncio.gather(*callers)) == set(running.endpoint.issued)
    assert len(running.endpoint.requests) == 1


async def test_a_caller_that_goes_away_leaves_the_fetch_to_the_others(running: Running) -> None:
    source = TokenSource(running.oauth)
    running.endpoint.may_answer.clear()
    first, second = asyncio.create_task(source.token()), asyncio.create_task(source.token())
    await until(lambda: running.endpoint.requests)
    first.cancel()
    await asyncio.wait([first])
    running.endpoint.may_answer.set()
    with anyio.fail_after(5):
        assert await second == running.endpoint.issued[0]
    assert len(running.endpoint.requests) == 1


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_calls_that_are_refused_with_401_run_once_with_one_new_token(
    running: Running, transport: Literal["http", "sse"]
) -> None:
    async with opener(running, transport).open() as session:
        await call(session)
        running.mcp.calls.clear()
        running.endpoint.revoke()
        with anyio.fail_after(10):
            await asyncio.gather(*(call(session) for _ in range(100)))
    new = f"Bearer {running.endpoint.issued[1]}"
    assert [one.headers["authorization"] for one in running.mcp.calls] == [new] * 100
    assert (len(running.endpoint.issued), len(running.mcp.refused) <= 100) == (2, True)


async def test_a_call_whose_new_token_is_refused_too_was_not_executed(running: Running) -> None:
    async with opener(running).open() as session:
        running.endpoint.revoke()
        running.endpoint.issues_good_ones = False
        with anyio.fail_after(5), pytest.raises(NoWorkerError):
            await call(session)
        assert (len(running.mcp.refused), running.mcp.calls) == (2, [])
        running.endpoint.issues_good_ones = True
        await call(session)


async def test_a_call_that_waits_for_a_token_until_its_deadline_was_not_executed(running: Running) -> None:
    async with opener(running).open() as session:
        running.endpoint.revoke()
        running.endpoint.may_answer.clear()
        with anyio.fail_after(5), pytest.raises(DeadlinePassedError):
            await call(session, timeout_s=0.2)
        running.endpoint.may_answer.set()
        await call(session)


async def test_the_next_token_is_fetched_before_the_last_one_expires_and_nobody_waits_for_it(running: Running) -> None:
    clock = Clock()
    source = TokenSource(running.oauth, clock=clock, sleep=clock.sleep)
    first = await source.token()
    clock.now += 3600 - 31
    assert await source.token() == first
    assert len(running.endpoint.requests) == 1
    clock.now += 2
    running.endpoint.may_answer.clear()
    with anyio.fail_after(5):
        assert [await source.token() for _ in range(5)] == [first] * 5
    await until(lambda: len(running.endpoint.requests) == 2)
    running.endpoint.may_answer.set()
    await until(lambda: len(running.endpoint.issued) == 2)
    with anyio.fail_after(5):
        while await source.token() == first:
            await anyio.sleep(0.01)
    assert len(running.endpoint.requests) == 2


async def test_a_token_that_cannot_be_renewed_is_used_until_it_expires_and_no_longer(running: Running) -> None:
    clock = Clock()
    source = TokenSource(running.oauth, clock=clock, sleep=clock.sleep)
    running.endpoint.lifetime_s = 100
    first = await source.token()

    async def fail(request: Request, reader: asyncio.StreamReader) -> None:
        await request.answer(b"down", status=503)

    running.endpoint.instead = fail
    clock.now += 99
    assert await source.token() == first
    await until(lambda: len(running.endpoint.requests) == 2)
    clock.now += 1
    with pytest.raises(NoWorkerError):
        await source.token()
    running.endpoint.instead = None
    assert await source.token() == running.endpoint.issued[1]


async def test_a_token_without_a_lifetime_is_good_until_it_is_refused(running: Running) -> None:
    clock = Clock()
    source = TokenSource(running.oauth, clock=clock, sleep=clock.sleep)
    running.endpoint.lifetime_s = None
    first = await source.token()
    clock.now += 1e9
    assert await source.token() == first
    source.drop("another")
    assert await source.token() == first
    source.drop(first)
    assert await source.token() != first


async def test_fetches_are_apart_although_every_token_is_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "FETCH_APART_S", 7.0)
    clock = Clock()
    source = TokenSource(running.oauth, clock=clock, sleep=clock.sleep)
    moments = []
    for _ in range(3):
        source.drop(await source.token())
        moments.append(clock.now)
    assert moments == [1000.0, 1007.0, 1014.0]


async def test_an_endpoint_that_wants_the_secret_in_the_body_gets_it_there_from_then_on(running: Running) -> None:
    running.endpoint.takes_basic = False
    source = TokenSource(running.oauth)
    for _ in range(2):
        source.drop(await source.token())
    assert ["authorization" in one.headers for one in running.endpoint.requests] == [True, False, False]
    assert len(running.endpoint.issued) == 2


async def answer_503(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"error":"planted-words"}', status=503)


async def answer_another_error(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"error":"planted-words"}', status=400)


async def answer_invalid_client(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"error":"invalid_client","error_description":"planted-words"}', status=400)


async def answer_no_json(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b"<planted-words>")


async def answer_a_list(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'["planted-words"]')


async def answer_no_token(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"token":"planted-words"}')


async def answer_a_line_break(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"access_token":"planted-words\\r\\nx-forged: 1"}')


async def answer_another_kind(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"access_token":"planted-words","token_type":"mac"}')


async def answer_no_lifetime(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"access_token":"planted-words","token_type":"bearer","expires_in":"planted-words"}')


async def answer_a_past_lifetime(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"access_token":"planted-words","token_type":"bearer","expires_in":0}')


async def answer_too_much(request: Request, reader: asyncio.StreamReader) -> None:
    await request.answer(b'{"access_token":"planted-words"' + b" " * 2**16 + b"}")


async def hang_up(request: Request, reader: asyncio.StreamReader) -> None:
    request.writer.close()


async def never_answer(request: Request, reader: asyncio.StreamReader) -> None:
    await request.wait_until_closed(reader)


FAULTS = [
    answer_503,
    answer_another_error,
    answer_invalid_client,
    answer_no_json,
    answer_a_list,
    answer_no_token,
    answer_a_line_break,
    answer_another_kind,
    answer_no_lifetime,
    answer_a_past_lifetime,
    answer_too_much,
    hang_up,
    never_answer,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_without_a_token_no_session_opens_calls_are_not_executed_and_nothing_secret_is_told(
    running: Running,
    transport: Literal["http", "sse"],
    fault: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(oauth, "FETCH_TIMEOUT_S", 0.3)
    caplog.set_level(logging.DEBUG)
    sessions = opener(running, transport)
    async with sessions.open() as session:
        running.endpoint.revoke()
        running.endpoint.instead = fault
        with anyio.fail_after(5), pytest.raises(NoWorkerError) as refused:
            await call(session)
    with anyio.fail_after(5), pytest.raises(OpenError) as not_opened:
        async with sessions.open():
            pass
    assert not_opened.value.fault == ("Connection timeout" if fault is never_answer else "Connection refused")
    assert running.mcp.calls == []
    told = [repr(refused.value), str(not_opened.value)]
    told += [JsonFormatter("worker").format(record) for record in caplog.records]
    assert any("no access token for the server" in line for line in told)
    for secret in (*running.secrets(), "planted-words"):
        assert not [line for line in told if secret in line]


async def test_a_redirect_of_the_token_endpoint_does_not_lead_the_secret_astray(running: Running) -> None:
    async def must_not_be_asked(request: Request, reader: asyncio.StreamReader) -> None:
        await request.answer(b'{"access_token":"x","token_type":"bearer"}')

    async with raw_server(must_not_be_asked, discovers=False) as elsewhere:

        async def redirect(request: Request, reader: asyncio.StreamReader) -> None:
            await request.answer(status=307, headers=f"location: {elsewhere.url}\r\n")

        running.endpoint.instead = redirect
        with pytest.raises(NoWorkerError):
            await TokenSource(running.oauth).token()
        assert elsewhere.requests == []


async def test_the_session_opens_as_soon_as_the_token_endpoint_is_there() -> None:
    async with protected_server() as running:
        port = free_port()
        late = OAuth(
            token_url=f"http://127.0.0.1:{port}/token", client_id=CLIENT_ID, client_secret=CLIENT_SECRET, scope=SCOPE
        )
        keeper = SessionKeeper(opener(running, oauth=late).open, owns_process=False)
        keeping = asyncio.create_task(keeper.run())
        try:
            await until(lambda: keeper.status.state == "down")
            with pytest.raises(NoWorkerError):
                await keeper.request("tools/call", b"{}", timeout_s=5)
            async with raw_server(running.endpoint.handle, port=port, discovers=False):
                await until(lambda: keeper.status.state == "up")
                await keeper.request("tools/call", b'{"name":"headers"}', timeout_s=5)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
    assert len(running.mcp.calls) == 1


@asynccontextmanager
async def fleet_before(running: Running, folder: Path) -> AsyncIterator[Any]:
    secret = folder / "client_secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    oauth_keys = {
        "token_url": running.token_url,
        "client_id": CLIENT_ID,
        "client_secret": "${PLANTED_SECRET}",
        "scope": SCOPE,
    }
    config = {"protected": {"url": running.url, "oauth": oauth_keys}}
    async with fleet(config, env={"PLANTED_SECRET_FILE": str(secret), "BUSBAR_LOG_LEVEL": "DEBUG"}) as started:
        yield started


async def test_a_worker_with_its_secret_in_a_file_answers_over_both_edges_and_tells_no_secret(
    running: Running, tmp_path: Path
) -> None:
    async with fleet_before(running, tmp_path) as started:
        for edge in ("http", "bus"):
            answer = await started.asking(edge)({"server": "protected", "tool": "headers"})
            assert (answer.status, len(running.endpoint.issued)) == (200, 1)
        running.endpoint.revoke()
        answer = await started.ask_http({"server": "protected", "tool": "headers"})
        assert (answer.status, len(running.mcp.calls)) == (200, 3)
        logs = started.logs()
        assert '"event": "worker started"' in logs
        assert [secret for secret in running.secrets() if secret in logs] == []
