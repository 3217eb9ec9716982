"""A reply that nobody is there to take goes out again until somebody is, or nobody waits any more."""

import time
from typing import Any

import anyio
import pytest

from services.runtime.bus import BusMessage
from services.worker.returns import Outgoing, open_returns
from tests.support.buses import connected
from tests.support.servers import NatsServer
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
        publish = worker.bus.publish

        async def count(subject: str, payload: bytes, **about: Any) -> None:
            published.append(subject)
            await publish(subject, payload, **about)

        monkeypatch.setattr(worker.bus, "publish", count)
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
