"""The callers' own sessions of one worker: opened by a call, lost aloud, ended when nobody comes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from bus_schemas.digests import caller_digest
from bus_schemas.workers import ServerFault
from services.runtime.errors import (
    DeadlinePassedError,
    NoWorkerError,
    OverloadedError,
    QueryError,
    UpstreamError,
)
from services.worker.callers import CallerSessions
from services.worker.mcp.session import DEAF, Hearing, OpenError, ServerInfo, Session, SessionForgottenError
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class FakeSession:
    """Answers with its number, until the test breaks it."""

    server_info = ServerInfo("fake", "1", "2025-11-25", "legacy")

    def __init__(self, number: int) -> None:
        self.number = number
        self.renews = True
        self.error: QueryError | None = None
        self.lost = asyncio.Event()
        self.is_open = True

    async def request(self, *_: Any, hearing: Hearing = DEAF, **__: Any) -> bytes:
        if hearing.progress is not None:
            hearing.progress(b'{"progress":1}')
        if self.error is not None:
            raise self.error
        return b"%d" % self.number

    async def closed(self) -> ServerFault:
        await self.lost.wait()
        return ServerFault.PROCESS_EXITED


class Server:
    """Opens sessions, one after another."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.is_away = False
        self.capabilities: list[Mapping[str, Any]] = []

    @asynccontextmanager
    async def open(self, capabilities: Mapping[str, Any]) -> AsyncIterator[Session]:
        self.capabilities.append(capabilities)
        await self.may_open.wait()
        if self.is_away:
            raise OpenError(ServerFault.CONNECTION_REFUSED)
        session = FakeSession(len(self.sessions) + 1)
        self.sessions.append(session)
        try:
            yield cast("Session", session)
        finally:
            session.is_open = False


async def ask(callers: CallerSessions, caller: str, *, was_lost: bool = False, timeout_s: float = 5.0) -> bytes:
    return await callers.of(caller, was_lost=was_lost).request("tools/call", b"{}", timeout_s=timeout_s)


async def test_a_session_begins_with_what_the_server_may_ask_of_its_caller() -> None:
    server = Server()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        some: dict[str, Any] = {"elicitation": {}}
        for capabilities in (some, {}):
            await callers.of("ann", was_lost=False, capabilities=capabilities).request("x", b"{}", timeout_s=5)
        await ask(callers, "bob")
    assert server.capabilities == [{"elicitation": {}}, {}]


async def test_each_caller_has_a_session_of_its_own_and_keeps_it() -> None:
    server = Server()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        assert [await ask(callers, caller) for caller in ("ann", "bob", "ann", "bob")] == [b"1", b"2", b"1", b"2"]
        assert callers.digests() == [caller_digest("ann"), caller_digest("bob")]
        assert not any(session.renews for session in server.sessions)
    assert not any(session.is_open for session in server.sessions)


async def test_progress_reaches_the_caller_that_asked_for_it() -> None:
    heard: list[bytes] = []
    async with CallerSessions(Server().open, most=9, idle_s=300) as callers:
        session = callers.of("ann", was_lost=False)
        await session.request("tools/call", b"{}", timeout_s=5, hearing=Hearing(heard.append))
        await ask(callers, "bob")
    assert heard == [b'{"progress":1}']


async def test_a_session_that_was_lost_unseen_is_told_once_and_then_replaced() -> None:
    server = Server()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        await ask(callers, "ann")
        server.sessions[0].lost.set()
        await until(lambda: not server.sessions[0].is_open)
        assert callers.digests() == [caller_digest("ann")]  # it is here that the caller is told
        with pytest.raises(UpstreamError):
            await ask(callers, "ann")
        assert await ask(callers, "ann") == b"2"


async def test_a_caller_whose_call_failed_with_the_session_is_not_told_again() -> None:
    server = Server()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        await ask(callers, "ann")
        server.sessions[0].error = UpstreamError()
        with pytest.raises(UpstreamError):
            await ask(callers, "ann")
        server.sessions[0].lost.set()
        await until(lambda: not callers.digests())
        assert await ask(callers, "ann") == b"2"


async def test_a_session_that_the_server_forgot_is_over() -> None:
    server = Server()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        await ask(callers, "ann")
        server.sessions[0].error = SessionForgottenError()
        with pytest.raises(UpstreamError):
            await ask(callers, "ann")
        assert await ask(callers, "ann") == b"2"


async def test_the_heir_of_a_lost_session_tells_the_caller_once_whoever_sends_the_calls() -> None:
    server = Server()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        with pytest.raises(UpstreamError):
            await ask(callers, "ann", was_lost=True)
        assert callers.digests() == [caller_digest("ann")]
        assert await ask(callers, "ann", was_lost=True) == b"1"


async def test_a_session_that_cannot_be_opened_leaves_nothing_behind() -> None:
    server = Server()
    server.is_away = True
    async with CallerSessions(server.open, most=1, idle_s=300) as callers:
        with pytest.raises(NoWorkerError):
            await ask(callers, "ann")
        await until(lambda: not callers.digests())
        server.is_away = False
        assert await ask(callers, "bob") == b"1"


async def test_a_call_waits_for_its_session_no_longer_than_its_deadline() -> None:
    server = Server()
    server.may_open.clear()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        with pytest.raises(DeadlinePassedError):
            await ask(callers, "ann", timeout_s=0.01)
        server.may_open.set()
        assert await ask(callers, "ann") == b"1"


async def test_beyond_the_bound_callers_are_refused_and_those_who_are_here_are_not() -> None:
    async with CallerSessions(Server().open, most=1, idle_s=300) as callers:
        await ask(callers, "ann")
        with pytest.raises(OverloadedError):
            await ask(callers, "bob")
        assert await ask(callers, "ann") == b"1"


async def test_a_session_that_nobody_uses_ends_and_one_in_use_does_not() -> None:
    server, now = Server(), 0.0
    async with CallerSessions(server.open, most=9, idle_s=0.02, clock=lambda: now) as callers:
        for caller in ("ann", "bob"):
            await ask(callers, caller)
        now = 0.015
        await ask(callers, "bob")
        now = 0.03
        sweep = asyncio.create_task(callers.end_idle())
        await until(lambda: not server.sessions[0].is_open)
        assert callers.digests() == [caller_digest("bob")]
        sweep.cancel()
        assert await ask(callers, "bob") == b"2"


async def test_every_change_of_who_is_here_is_made_known() -> None:
    server = Server()
    async with CallerSessions(server.open, most=9, idle_s=300) as callers:
        changes = callers.changes()
        with anyio.fail_after(5):
            await ask(callers, "ann")
            await anext(changes)
            server.sessions[0].error = SessionForgottenError()
            with pytest.raises(UpstreamError):
                await ask(callers, "ann")
            await anext(changes)
        assert callers.digests() == []
