"""Breakers over a real bus: what one orchestrator finds out, all know; and what an operator says, all obey."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import nats as nats_py
import pytest

from bus_schemas import subjects
from bus_schemas.breakers import BreakerState
from services.orchestrator.breaker.board import Board
from services.orchestrator.breaker.events import sharing_breakers
from services.orchestrator.breaker.guard import FAILURES
from services.orchestrator.breaker.metrics import BreakerMetrics
from services.runtime.breakers import BreakerWords, following_breakers
from services.runtime.config.policy import Policy, ServerPolicy
from services.runtime.errors import CircuitOpenError, UpstreamError
from services.runtime.lifecycle import new_instance_id
from services.runtime.metrics import new_registry
from tests.support.announced import AnnouncedFleet
from tests.support.buses import Connected, be_quick, connected
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

POLICY = Policy(servers={"a": ServerPolicy(version="1.0.0")})


class Replica:
    """The breakers of one orchestrator, on the bus; its calls end as the test says."""

    def __init__(self, side: Connected) -> None:
        self.side = side
        self.instance = new_instance_id()
        self.words = BreakerWords()
        metrics = BreakerMetrics(new_registry())
        self.board = Board(POLICY, AnnouncedFleet().fleet, self.words, metrics, instance=self.instance, open_s=30)

    def is_refusing(self, version: str = "1.0.0") -> bool:
        try:
            with self.board.guarding("a", version, 0.0):
                return False
        except CircuitOpenError:
            return True

    def open(self) -> None:
        for _ in range(FAILURES):
            with pytest.raises(UpstreamError), self.board.guarding("a", "1.0.0", 0.0):
                raise UpstreamError


@asynccontextmanager
async def sharing(url: str) -> AsyncIterator[Replica]:
    async with connected(url, service="orchestrator") as side:
        one = Replica(side)
        async with sharing_breakers(side.bus, side.inbox, side.life, one.board, one.words, instance=one.instance):
            yield one


async def order(url: str, **word: Any) -> list[str]:
    """Publish an operator's word as any client of the bus can, and return who acknowledges it."""
    client = await nats_py.connect(url)
    try:
        inbox = client.new_inbox()
        replies = await client.subscribe(inbox)
        message = {"event": "changed", "server": "a", "epoch": 0, "by": "admin", **word}
        await client.publish("mcp.v1.event.breaker.a", json.dumps(message).encode(), reply=inbox)
        acknowledged = [json.loads((await replies.next_msg(timeout=5)).data)["instance"] for _ in range(2)]
        return sorted(acknowledged)
    finally:
        await client.close()


async def test_what_one_opens_the_other_refuses_and_what_one_closes_the_other_lets_through(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one, sharing(nats.url) as two:
            one.open()
            await until(two.is_refusing, timeout_s=1)
            one.words.permit_probe("a", "1.0.0")
            assert not one.is_refusing()
            await until(lambda: not two.is_refusing(), timeout_s=1)


async def test_a_new_orchestrator_refuses_from_its_first_query_on(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one:
            one.open()
            async with sharing(nats.url) as two:
                assert two.is_refusing()


async def test_an_operator_isolates_and_resets_with_a_plain_client_and_every_orchestrator_acknowledges(
    nats: NatsServer,
) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one, sharing(nats.url) as two:
            everybody = sorted([one.instance, two.instance])
            assert await order(nats.url, state="isolated", open_ms=60_000, reason="moving") == everybody
            assert [one.is_refusing("1.0.0"), two.is_refusing("7.7.7")] == [True, True]
            async with sharing(nats.url) as new:
                assert new.is_refusing("7.7.7")
            assert await order(nats.url, state="closed") == everybody
            assert [one.is_refusing("1.0.0"), two.is_refusing("7.7.7")] == [False, False]


async def test_whoever_asks_is_told_of_every_breaker(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one, connected(nats.url) as asking:
            one.open()
            reply = await asking.inbox.ask(subjects.BREAKERS, b'{"order": "tell_breakers"}', timeout_s=5)
    told = json.loads(reply.data)
    assert told["instance"] == one.instance
    [breaker] = told["breakers"]
    assert (breaker["server"], breaker["version"], breaker["state"]) == ("a", "1.0.0", "open")
    assert breaker["by"] == one.instance
    assert 29_000 < breaker["open_ms"] <= 33_000


async def test_who_could_not_say_that_it_opened_says_so_when_it_is_back(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one, sharing(nats.url) as two:
            one.words.take(
                one.words.next("a", "1.0.0", BreakerState.OPEN, for_s=30, by=one.instance, reason="nobody heard it")
            )
            assert not two.is_refusing()
            await one.side.bus._client.force_reconnect()
            await until(two.is_refusing)


async def test_who_was_away_when_it_opened_knows_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)
    with anyio.fail_after(30):
        async with nats_server() as server, sharing(server.url) as one, sharing(server.url) as two:
            await server.kill()
            await until(lambda: not (one.side.bus.connected or two.side.bus.connected))
            one.open()
            assert not two.is_refusing()
            await server.restart()
            await until(two.is_refusing)


def word(**fields: Any) -> bytes:
    return json.dumps({"event": "changed", "server": "a", "epoch": 1, "open_ms": 9000, **fields}).encode()


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        ("mcp.v1.event.breaker.a", b"[]"),
        ("mcp.v1.event.breaker.a", word(state="unheard-of", by="admin")),
        ("mcp.v1.event.breaker.b", word(state="isolated", by="admin")),
        ("mcp.v1.control.breakers", b"[]"),
    ],
)
async def test_what_is_malformed_or_about_another_server_is_passed_over(
    nats: NatsServer, subject: str, data: bytes
) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one, connected(nats.url) as stranger:
            await stranger.bus.publish(subject, data)
            await stranger.bus.publish("mcp.v1.event.breaker.a", word(version="2.0.0", state="open", by="two"))
            await until(lambda: one.is_refusing("2.0.0"))
            assert not one.is_refusing()


async def test_answers_that_are_malformed_do_not_keep_an_orchestrator_from_starting(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one, connected(nats.url) as stranger:
            one.open()

            async def answer(message: Any) -> None:
                await stranger.bus.publish(message.reply, b'{"instance": "stranger"}')

            await stranger.bus.subscribe(subjects.BREAKERS, answer)
            async with sharing(nats.url) as new:
                assert new.is_refusing()


async def test_who_only_follows_knows_too_and_acknowledges_nothing(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with sharing(nats.url) as one, sharing(nats.url) as two, connected(nats.url) as side:
            one.open()
            words = BreakerWords()
            async with following_breakers(side.bus, side.inbox, words):
                assert words.of("a", "1.0.0") is not None
                acknowledged = await order(nats.url, state="closed")
                assert acknowledged == sorted([one.instance, two.instance])
                await until(lambda: words.of("a", "1.0.0") is None)
