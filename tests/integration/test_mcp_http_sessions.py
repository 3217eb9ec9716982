"""Sessions of the handshake era over streamable HTTP, against a server that can forget them."""

import asyncio

import anyio
import pytest

from services.runtime.errors import DeadlineExceededError, UpstreamError
from tests.support.http_sessions import call, opener
from tests.support.mcp_servers.old_http import OldServer
from tests.support.mcp_servers.raw_http import raw_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_server_of_the_handshake_era_is_greeted_and_left_as_it_wants() -> None:
    old = OldServer()
    async with raw_server(old.handle, discovers=False) as server, opener(server.url).open() as session:
        assert session.server_info.protocol_version == "2025-06-18"
        assert await call(session) == b"{}"
    assert old.methods() == [
        "server/discover",
        "initialize",
        "notifications/initialized",
        "tools/call",
        "DELETE",
    ]
    called = old.seen[3]
    assert called.headers["mcp-session-id"] == "s0"
    assert called.headers["mcp-protocol-version"] == "2025-06-18"
    assert "mcp-method" not in called.headers
    assert called.json["params"] == {"name": "x", "arguments": {}}


@pytest.mark.parametrize("status", [400, 404])
async def test_calls_that_meet_a_forgotten_session_shake_hands_once_and_are_answered(status: int) -> None:
    old = OldServer(unknown_session=status)
    async with raw_server(old.handle, discovers=False) as server, opener(server.url).open() as session:
        old.known.clear()
        with anyio.fail_after(10):
            assert await asyncio.gather(*(call(session) for _ in range(20))) == [b"{}"] * 20
        assert old.sessions == ["s0", "s1"]


async def test_a_server_that_forgets_every_session_is_an_upstream_error() -> None:
    old = OldServer()
    async with raw_server(old.handle, discovers=False) as server, opener(server.url).open() as session:
        old.known = NothingEver()
        with anyio.fail_after(5), pytest.raises(UpstreamError):
            await call(session)


class NothingEver(set[str]):
    def add(self, element: str) -> None:
        pass


async def test_in_the_handshake_era_a_cancelled_call_is_said_to_be_so() -> None:
    old = OldServer()
    async with raw_server(old.handle, discovers=False) as server, opener(server.url).open() as session:
        old.hold.clear()
        with pytest.raises(DeadlineExceededError):
            await call(session, timeout_s=0.2)
        await until(lambda: "notifications/cancelled" in old.methods())
        cancelled = old.seen[-1]
        assert cancelled.json["params"]["requestId"] == old.seen[-2].json["id"]
        assert cancelled.headers["mcp-session-id"] == "s0"
