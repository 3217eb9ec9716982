"""A reply that nobody is there to take goes out again until somebody is, or nobody waits any more."""

import time
from typing import Any

import anyio
import pytest

from services.runtime.bus import BusMessage
from services.worker.execution import Executed
from services.worker.replies import Replies
from services.worker.returns import Outgoing, open_returns
from tests.support.buses import connected
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

INBOX = "_INBOX_orchestrator.gone.r.1"


async def test_a_reply_reaches_an_inbox_that_is_there_a_moment_later(nats: NatsServer) -> None:
    heard: list[bytes] = []

    async def hear(message: BusMessage) -> None:
        heard.append(message.data)

    async with connected(nats.url) as worker, connected(nats.url) as orchestrator, open_returns(worker.bus) as returns:
        await returns.send(Outgoing(worker.bus, INBOX, {"mcp-kind": "result"}, b"{}", time.monotonic() + 5))
        await until(lambda: returns._going_again)
        subscription = await orchestrator.bus.subscribe(INBOX, hear)
        with anyio.fail_after(5):
            await returns.settle()
        await until(lambda: heard)
        await subscription.drain()

    assert heard == [b"{}"]


async def test_a_reply_that_nobody_waits_for_any_more_is_given_up(nats: NatsServer) -> None:
    async with connected(nats.url) as worker, open_returns(worker.bus) as returns:
        await returns.send(Outgoing(worker.bus, INBOX, {"mcp-kind": "result"}, b"{}", time.monotonic() + 0.2))
        with anyio.fail_after(5):
            await returns.settle()


async def test_a_reply_that_keeps_coming_back_goes_out_ever_more_seldom(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(nats.url) as worker, open_returns(worker.bus) as returns:
        published: list[str] = []
        publish = worker.bus.publish_at_once

        def count(subject: str, payload: bytes, **about: Any) -> bool:
            published.append(subject)
            return publish(subject, payload, **about)

        monkeypatch.setattr(worker.bus, "publish_at_once", count)
        await returns.send(Outgoing(worker.bus, INBOX, {"mcp-kind": "result"}, b"{}", time.monotonic() + 3))
        with anyio.fail_after(5):
            await returns.settle()

    # At once, and after 0.05, 0.1, 0.2, 0.4 and 0.8 s; once more would be over the deadline.
    assert 2 <= published.count(INBOX) <= 6


async def test_a_reply_that_is_taken_goes_out_once(nats: NatsServer) -> None:
    heard: list[bytes] = []

    async def hear(message: BusMessage) -> None:
        heard.append(message.data)

    async with connected(nats.url) as worker, open_returns(worker.bus) as returns:
        subscription = await worker.bus.subscribe(INBOX, hear)
        await returns.send(Outgoing(worker.bus, INBOX, {"mcp-kind": "result"}, b"{}", time.monotonic() + 5))
        with anyio.fail_after(5):
            await returns.settle()
        await subscription.drain()

    assert heard == [b"{}"]


async def test_replies_count_until_they_cannot_come_back(nats: NatsServer) -> None:
    async with connected(nats.url) as worker, open_returns(worker.bus) as returns:
        await returns.send(Outgoing(worker.bus, INBOX, {"mcp-kind": "result"}, b"12345", time.monotonic() + 0.5))
        assert returns.held_bytes == 5
        await until(lambda: returns._going_again)
        assert returns.held_bytes == 5
        with anyio.fail_after(5):
            await returns.settle()
        await until(lambda: returns.held_bytes == 0)


async def test_results_that_wait_for_the_bus_leave_no_room_for_more() -> None:
    async with nats_server() as server, connected(server.url) as worker, open_returns(worker.bus) as returns:
        replies = Replies(worker.bus, worker.bus, returns, instance="i", most_undelivered_bytes=1000)
        assert replies.have_room()
        await server.kill()
        await until(lambda: not worker.bus.connected)
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(replies.result, INBOX, Executed(b"x" * 500, 0, 0), time.monotonic() + 60)
            await until(lambda: replies.undelivered_bytes == 1000)
            assert not replies.have_room()
            group.cancel_scope.cancel()
        assert replies.undelivered_bytes == 0
