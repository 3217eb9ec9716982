"""The table of orchestrators: who is there, who left, who is silent; and who acknowledges what all are told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import pytest

from bus_schemas import subjects
from bus_schemas.replicas import OrchestratorEvent, OrchestratorHeartbeat, OrchestratorLeft
from services.orchestrator.flushes import obeying_flushes
from services.runtime.bus import BusAwayError, BusMessage
from services.runtime.replicas import Acknowledgements, CacheCounts, Replicas, open_replicas
from tests.support.buses import Connected, be_quick, connected
from tests.support.clock import Clock
from tests.support.replica import replica
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SUBJECT = subjects.CACHE_EVENTS


class Watched(NamedTuple):
    """A table under a test's clock, fed with events by the test."""

    replicas: Replicas
    clock: Clock
    side: Connected

    async def take(self, *events: OrchestratorEvent, subject: str | None = None) -> None:
        for event in events:
            await self.take_bytes(subject or subjects.orchestrator_event(event.instance), event.encode())

    async def take_bytes(self, subject: str, data: bytes) -> None:
        await self.replicas.take_event(BusMessage(_client=self.side.bus._client, subject=subject, data=data))

    def pass_time(self, seconds: float) -> None:
        """Let time pass as `watch_silence` sees it."""
        for _ in range(round(seconds * 4)):
            self.clock.now += 0.25
            self.replicas.forget_silent()


def heartbeat(instance: str, *, hits: int = 0, misses: int = 0) -> OrchestratorHeartbeat:
    return OrchestratorHeartbeat(instance=instance, started_at=1.0, cache_hits=hits, cache_misses=misses)


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watched]:
    async with connected(url) as side:
        clock = Clock()
        yield Watched(Replicas(side.bus, side.inbox, clock), clock, side)


@pytest.fixture
async def watched(nats: NatsServer) -> AsyncIterator[Watched]:
    async with watching(nats.url) as watched:
        yield watched


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Replicas]:
    async with connected(url) as side, open_replicas(side.bus, side.inbox, side.life) as replicas:
        yield replicas


async def test_the_counts_of_all_live_orchestrators_are_summed(watched: Watched) -> None:
    assert watched.replicas.cache_counts().hit_rate == 0.0
    await watched.take(heartbeat("one", hits=1, misses=1), heartbeat("two", hits=1, misses=0))
    await watched.take(heartbeat("one", hits=2, misses=1))
    assert watched.replicas.cache_counts() == CacheCounts(hits=3, misses=1)
    assert watched.replicas.cache_counts().hit_rate == 0.75


async def test_one_that_left_is_gone_at_once(watched: Watched) -> None:
    await watched.take(heartbeat("one"), heartbeat("two"), OrchestratorLeft(instance="one"))
    assert watched.replicas.instances() == {"two"}


async def test_a_silent_one_counts_as_live_for_ten_seconds(watched: Watched) -> None:
    await watched.take(heartbeat("frozen"))
    watched.pass_time(5)
    await watched.take(heartbeat("well"))
    watched.pass_time(5)
    assert watched.replicas.instances() == {"frozen", "well"}
    watched.pass_time(0.25)
    assert watched.replicas.instances() == {"well"}


async def test_nobody_is_forgotten_for_a_time_in_which_this_process_slept(watched: Watched) -> None:
    await watched.take(heartbeat("one"))
    watched.clock.now += 60
    watched.pass_time(10)
    assert watched.replicas.instances() == {"one"}


async def test_nobody_is_forgotten_for_a_time_in_which_the_bus_was_away() -> None:
    with anyio.fail_after(20):
        async with nats_server() as server, watching(server.url) as watched:
            await watched.take(heartbeat("one"))
            await server.kill()
            await until(lambda: not watched.side.bus.connected)
            watched.pass_time(60)
            await server.restart()
            await until(lambda: watched.side.bus.connected)
            watched.pass_time(10)
            assert watched.replicas.instances() == {"one"}
            watched.pass_time(0.5)
            assert watched.replicas.instances() == set()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"event": "unheard-of"}', b'{"event": "heartbeat", "instance": "a.>"}'])
async def test_a_malformed_event_is_ignored(watched: Watched, data: bytes) -> None:
    await watched.take_bytes(subjects.orchestrator_event("one"), data)
    assert watched.replicas.instances() == set()


async def test_an_event_about_somebody_else_is_ignored(watched: Watched) -> None:
    await watched.take(heartbeat("one"), OrchestratorLeft(instance="two"), subject=subjects.orchestrator_event("two"))
    await watched.take(heartbeat("one"))
    await watched.take(OrchestratorLeft(instance="one"), subject=subjects.orchestrator_event("two"))
    assert watched.replicas.instances() == {"one"}


async def test_each_live_one_acknowledges_what_all_are_told(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with replica(nats.url, "one") as one, replica(nats.url, "two"), opened(nats.url) as replicas:
            # At once: the table waits until it knows everybody.
            assert await replicas.tell(SUBJECT, b'{"event": "flushed"}') == Acknowledgements(["one", "two"], [])
            assert one.flushes == 1


async def test_one_that_does_not_acknowledge_in_time_is_missing_and_one_that_joins_is_not(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with connected(nats.url) as silent, opened(nats.url) as replicas:
            await silent.bus.publish(subjects.orchestrator_event("silent"), heartbeat("silent").encode())
            await replicas.completed()
            async with replica(nats.url, "new"):
                told = await replicas.tell(SUBJECT, b'{"event": "flushed"}', within_s=0.2)
            assert told == Acknowledgements(["new"], ["silent"])


async def test_one_that_dies_is_missing_without_a_wait_when_nobody_is_left_to_hear(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with connected(nats.url) as dead, opened(nats.url) as replicas:
            await dead.bus.publish(subjects.orchestrator_event("dead"), heartbeat("dead").encode())
            await replicas.completed()
            assert await replicas.tell(SUBJECT, b"", within_s=60) == Acknowledgements([], ["dead"])


async def test_an_orchestrator_that_drains_acknowledges_until_it_has_left(nats: NatsServer) -> None:
    with anyio.fail_after(20):
        async with opened(nats.url) as replicas:
            async with replica(nats.url, "one"):
                await until(lambda: replicas.instances() == {"one"})
            await until(lambda: replicas.instances() == set())
            assert await replicas.tell(SUBJECT, b"") == Acknowledgements([], [])


async def test_nobody_is_told_while_the_bus_is_away_and_after_it_all_are_heard_anew() -> None:
    with anyio.fail_after(30):
        async with (
            nats_server() as server,
            connected(server.url) as (bus, inbox, life),
            open_replicas(bus, inbox, life) as replicas,
        ):
            await replicas.completed()
            await server.kill()
            await until(lambda: not bus.connected)
            with pytest.raises(BusAwayError):
                await replicas.tell(SUBJECT, b"")
            await server.restart()
            async with replica(server.url, "new"):
                await until(lambda: bus.connected)
                assert await replicas.tell(SUBJECT, b'{"event": "flushed"}') == Acknowledgements(["new"], [])


async def test_what_is_kept_is_distrusted_after_a_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)
    with anyio.fail_after(20):
        async with nats_server() as server, replica(server.url, "one") as one:
            await server.restart()
            await until(lambda: one.flushes == 1)


async def test_an_event_that_is_not_understood_is_obeyed_and_not_acknowledged(nats: NatsServer) -> None:
    distrusted: list[None] = []
    with anyio.fail_after(20):
        async with (
            connected(nats.url) as side,
            obeying_flushes(side.bus, instance="one", distrust=lambda: distrusted.append(None)),
        ):
            replies = await side.inbox.gather(SUBJECT, b'{"event": "unheard-of"}', total_s=0.2, stall_s=0.1)
    assert (len(distrusted), replies) == (1, [])
