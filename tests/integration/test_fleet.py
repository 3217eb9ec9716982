"""The table of workers: who joins, changes, drains, leaves or falls silent, as the bus tells it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import psutil
import pytest

from bus_schemas import subjects
from bus_schemas.control import decode_order
from bus_schemas.workers import (
    Catalogue,
    ServerFault,
    WorkerDraining,
    WorkerEvent,
    WorkerHeartbeat,
    WorkerJoined,
    WorkerLeft,
    WorkerState,
)
from services.runtime import fleet as fleet_module
from services.runtime.bus import Bus, BusMessage, connection
from services.runtime.bus.discovery import EndpointStats, ServiceFace, discoverable
from services.runtime.fleet import Fleet, Report, Worker, open_fleet
from tests.support.buses import Connected, connected
from tests.support.clock import Clock
from tests.support.servers import NatsServer, nats_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

READ = Catalogue(tools=[{"name": "read", "inputSchema": {"type": "object"}}])
WRITE = Catalogue(tools=[{"name": "write", "inputSchema": {"type": "object"}}])


class Watched(NamedTuple):
    """A fleet under a test's clock, fed with events by the test."""

    fleet: Fleet
    clock: Clock
    side: Connected
    silent: list[Report]

    async def take(self, *events: WorkerEvent, subject: str | None = None) -> None:
        """Hand the fleet events, each on its worker's own subject if none is given."""
        for event in events:
            await self.take_bytes(subject or subjects.worker_event(event.server, event.instance), event.encode())

    async def take_bytes(self, subject: str, data: bytes) -> None:
        self.fleet.take_event(BusMessage(_client=self.side.bus._client, subject=subject, data=data))

    def pass_time(self, seconds: float) -> None:
        """Let time pass as `watch_silence` sees it."""
        for _ in range(round(seconds * 4)):
            self.clock.now += 0.25
            self.fleet.bury_silent()

    def only(self) -> Worker:
        (worker,) = self.fleet.workers()
        return worker

    def names(self) -> list[str]:
        return sorted(worker.report.instance for worker in self.fleet.workers())


def about(instance: str = "one", server: str = "files") -> dict[str, Any]:
    return {"server": server, "version": "1.0.0", "instance": instance}


def joined(instance: str = "one", catalogue: Catalogue = READ, **fields: Any) -> WorkerJoined:
    report = {"state": WorkerState.SERVING, "started_at": 1.0, "sent_at": 2.0, "catalogue": catalogue.digest()}
    return WorkerJoined(**{**about(instance), **report, **fields}, offers=catalogue)


def heartbeat(instance: str = "one", catalogue: Catalogue | None = READ, **fields: Any) -> WorkerHeartbeat:
    digest = None if catalogue is None else catalogue.digest()
    report = {"state": WorkerState.SERVING, "started_at": 1.0, "sent_at": 2.0, "catalogue": digest}
    return WorkerHeartbeat(**{**about(instance), **report, **fields})


@pytest.fixture
async def watched(nats: NatsServer) -> AsyncIterator[Watched]:
    async with connected(nats.url) as side:
        clock, silent = Clock(), list[Report]()
        fleet = Fleet(side.bus, side.inbox, clock)
        fleet.on_silence(silent.append)
        yield Watched(fleet, clock, side, silent)


class FakeWorker:
    """Announces itself and describes itself when asked."""

    def __init__(self, bus: Bus, report: WorkerEvent) -> None:
        self.bus = bus
        self.report = report
        self.described = 0

    async def say(self, event: WorkerEvent) -> None:
        await self.bus.publish(subjects.worker_event(event.server, event.instance), event.encode())

    async def obey(self, message: BusMessage) -> None:
        assert decode_order(message.data).order == "describe"
        self.described += 1
        await self.bus.publish(message.reply, self.report.encode())


@asynccontextmanager
async def working(bus: Bus, report: WorkerEvent) -> AsyncIterator[FakeWorker]:
    """A worker that is found by discovery and answers DescribeWorker with `report`."""
    worker = FakeWorker(bus, report)
    face = ServiceFace(
        name=report.server,
        version=report.version,
        instance=report.instance,
        description="",
        subject="call",
        queue="q",
        started_at=0,
        stats=EndpointStats(),
    )
    subscription = await bus.subscribe(subjects.control(report.server, report.instance), worker.obey)
    async with discoverable(bus, face):
        yield worker
    await subscription.drain()


async def test_a_worker_that_joins_is_in_the_table_with_what_it_offers(watched: Watched) -> None:
    await watched.take(joined())
    assert watched.only().is_serving
    assert watched.fleet.catalogue(watched.only()) == READ
    assert watched.fleet.was_seen("files")
    assert not watched.fleet.was_seen("other")


async def test_a_worker_without_a_catalogue_is_in_the_table_and_offers_nothing_yet(watched: Watched) -> None:
    event = heartbeat(catalogue=None, state=WorkerState.UNAVAILABLE, fault=ServerFault.PROCESS_EXITED)
    await watched.take(event)
    assert not watched.only().is_serving
    assert watched.fleet.catalogue(watched.only()) is None
    assert watched.only().report.fault is ServerFault.PROCESS_EXITED


@pytest.mark.parametrize(
    "change",
    [
        {"state": WorkerState.UNAVAILABLE},
        {"state": WorkerState.DRAINING},
        {"version": "1.1.0"},
        {"fault": ServerFault.NOT_RESPONDING},
        {"catalogue": None},
    ],
)
async def test_the_revision_grows_when_a_worker_changes(watched: Watched, change: dict[str, Any]) -> None:
    await watched.take(joined())
    before = watched.fleet.revision
    await watched.take(heartbeat(in_flight=3, latency_ms=2.0))
    assert watched.fleet.revision == before
    await watched.take(heartbeat(**change))
    assert watched.fleet.revision > before


async def test_a_worker_that_drains_is_kept_but_serves_no_more(watched: Watched) -> None:
    await watched.take(joined())
    before = watched.fleet.revision
    await watched.take(WorkerDraining(**about()))
    assert watched.only().report.state is WorkerState.DRAINING
    assert not watched.only().is_serving
    assert watched.fleet.revision > before


async def test_a_worker_that_leaves_is_gone_and_did_not_fall_silent(watched: Watched) -> None:
    await watched.take(joined("one"), joined("two"))
    before = watched.fleet.revision
    await watched.take(WorkerLeft(**about("one")))
    assert watched.names() == ["two"]
    assert watched.fleet.revision > before
    await watched.take(WorkerLeft(**about("one")), WorkerDraining(**about("one")))
    assert watched.names() == ["two"]
    assert watched.silent == []


async def test_three_missed_heartbeats_are_a_death(watched: Watched) -> None:
    await watched.take(joined("one"), joined("two"))
    watched.pass_time(3.0)
    assert watched.names() == ["one", "two"]
    await watched.take(heartbeat("two"))
    watched.pass_time(0.25)
    assert watched.names() == ["two"]
    assert [report.instance for report in watched.silent] == ["one"]


async def test_nobody_is_buried_after_a_time_in_which_this_process_slept(watched: Watched) -> None:
    await watched.take(joined())
    watched.clock.now += 60
    watched.fleet.bury_silent()
    watched.pass_time(3.0)
    assert watched.names() == ["one"]
    watched.pass_time(0.25)
    assert watched.names() == []


async def test_nobody_is_buried_while_the_bus_is_away_nor_right_after() -> None:
    with anyio.fail_after(10):
        async with nats_server() as server, connected(server.url) as side:
            watched = Watched(Fleet(side.bus, side.inbox, clock := Clock()), clock, side, [])
            await watched.take(joined())
            await server.kill()
            await until(lambda: not side.bus.connected)
            watched.pass_time(60)
            await server.restart()
            await until(lambda: side.bus.connected)
            watched.pass_time(3.0)
            assert watched.names() == ["one"]
            watched.pass_time(0.25)
            assert watched.names() == []


async def test_a_worker_that_comes_back_is_in_the_table_again(watched: Watched) -> None:
    await watched.take(joined())
    watched.pass_time(4)
    await watched.take(joined())
    assert watched.fleet.catalogue(watched.only()) == READ


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no json",
        b"[]",
        b'{"event": "unheard-of"}',
        b'{"event": "left", "server": "a.>"}',
        "\udcff".encode("utf-8", "surrogatepass"),
    ],
)
async def test_a_malformed_event_is_ignored(watched: Watched, data: bytes) -> None:
    await watched.take(joined())
    await watched.take_bytes(subjects.worker_event("files", "one"), data)
    assert watched.names() == ["one"]


@pytest.mark.parametrize("event", [joined("two"), heartbeat("two"), WorkerDraining(**about()), WorkerLeft(**about())])
async def test_no_worker_speaks_for_another(watched: Watched, event: WorkerEvent) -> None:
    await watched.take(joined())
    await watched.take(event, subject=subjects.worker_event("other", "evil"))
    assert watched.names() == ["one"]
    assert watched.only().is_serving


async def test_fields_of_a_later_release_are_ignored(watched: Watched) -> None:
    later = {**json.loads(joined().encode()), "future": {"a": 1}}
    later["offers"]["future_kind"] = [{"name": "x"}]
    await watched.take_bytes(subjects.worker_event("files", "one"), json.dumps(later).encode())
    assert watched.fleet.catalogue(watched.only()) == READ


async def test_fields_that_an_earlier_release_does_not_send_have_defaults(watched: Watched) -> None:
    needed = {"event": "heartbeat", **about(), "state": "serving", "started_at": 1, "sent_at": 2}
    await watched.take_bytes(subjects.worker_event("files", "one"), json.dumps(needed).encode())
    assert watched.only().is_serving
    assert watched.only().report.catalogue is None


async def test_the_workers_of_one_version_share_one_catalogue_object(watched: Watched) -> None:
    await watched.take(
        joined("one"), joined("two", Catalogue.model_validate(READ.model_dump())), joined("three", WRITE)
    )
    found = {worker.report.instance: worker for worker in watched.fleet.workers()}
    assert watched.fleet.catalogue(found["one"]) is watched.fleet.catalogue(found["two"])
    assert watched.fleet.catalogue(found["three"]) == WRITE
    for worker in found.values():
        assert isinstance(worker.report, WorkerJoined)
        assert worker.report.offers is watched.fleet.catalogue(worker)


async def test_a_catalogue_that_nobody_offers_any_more_is_forgotten(watched: Watched) -> None:
    await watched.take(joined("one"), joined("two"), joined("one", WRITE))
    assert len(watched.fleet._catalogues) == 2
    await watched.take(WorkerLeft(**about("two")))
    assert list(watched.fleet._catalogues) == [WRITE.digest()]


async def test_a_worker_of_whose_catalogue_only_the_hash_is_known_is_asked_for_it(watched: Watched) -> None:
    with anyio.fail_after(5):
        async with working(watched.side.bus, joined()) as worker:
            await watched.take(heartbeat(), heartbeat())
            assert watched.fleet.catalogue(watched.only()) is None
            known_without = watched.fleet.revision
            await until(lambda: watched.fleet.catalogue(watched.only()))
            assert watched.fleet.revision > known_without, "what is derived from the table would never see it"
            await watched.take(heartbeat())
            assert worker.described == 1


async def test_a_changed_hash_is_asked_for_again(watched: Watched) -> None:
    with anyio.fail_after(5):
        async with working(watched.side.bus, joined(catalogue=WRITE)):
            await watched.take(joined(), heartbeat(catalogue=WRITE))
            await until(lambda: watched.fleet.catalogue(watched.only()) == WRITE)


async def test_a_worker_that_does_not_describe_itself_is_asked_again_at_its_next_heartbeat(watched: Watched) -> None:
    with anyio.fail_after(5):
        await watched.take(heartbeat())
        await until(lambda: not watched.fleet._describing)
        async with working(watched.side.bus, joined()):
            await watched.take(heartbeat())
            await until(lambda: watched.fleet.catalogue(watched.only()))


async def test_a_description_of_another_worker_is_refused(watched: Watched) -> None:
    with anyio.fail_after(5):
        async with working(watched.side.bus, heartbeat("one")) as worker:
            worker.report = joined("two")
            await watched.take(heartbeat("one"))
            await until(lambda: worker.described and not watched.fleet._describing)
            assert watched.names() == ["one"]


async def test_whoever_is_there_at_the_start_is_in_the_table(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as other:
            async with working(other.bus, joined("one")), working(other.bus, joined("two", WRITE)):
                async with connected(nats.url) as side, open_fleet(side.bus, side.inbox, side.life) as fleet:
                    offers = {worker.report.instance: fleet.catalogue(worker) for worker in fleet.workers()}
                    assert offers == {"one": READ, "two": WRITE}


async def test_a_stranger_in_the_discovery_does_not_hold_up_the_start(nats: NatsServer) -> None:
    face = ServiceFace("stranger", "1.0.0", "abc", "", "s", "q", 0, EndpointStats())
    with anyio.fail_after(5):
        async with connected(nats.url) as other, discoverable(other.bus, face), working(other.bus, joined()):
            async with connected(nats.url) as side, open_fleet(side.bus, side.inbox, side.life) as fleet:
                assert [worker.report.instance for worker in fleet.workers()] == ["one"]


async def test_events_on_the_bus_reach_the_table(nats: NatsServer) -> None:
    with anyio.fail_after(5):
        async with connected(nats.url) as other, connected(nats.url) as side:
            async with open_fleet(side.bus, side.inbox, side.life) as fleet:
                worker = FakeWorker(other.bus, joined())
                await worker.say(joined())
                await until(lambda: [each.is_serving for each in fleet.workers()] == [True])
                await worker.say(WorkerDraining(**about()))
                await until(lambda: [each.is_serving for each in fleet.workers()] == [False])
                await worker.say(WorkerLeft(**about()))
                await until(lambda: not list(fleet.workers()))


async def test_whoever_came_while_the_bus_was_away_is_counted_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RECONNECT_WAIT_S", 1.0)  # so that the worker is there first
    with anyio.fail_after(10):
        async with nats_server() as server, connected(server.url) as side:
            async with open_fleet(side.bus, side.inbox, side.life) as fleet:
                await server.kill()
                await until(lambda: not side.bus.connected)
                await server.restart()
                async with connected(server.url) as other, working(other.bus, joined()):
                    await until(lambda: [each.report.instance for each in fleet.workers()] == ["one"])
                    assert side.bus.reconnects == 1


async def test_nobody_is_buried_while_the_server_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "HEARTBEAT_INTERVAL_S", 0.1)
    with anyio.fail_after(20):
        async with nats_server() as server, connected(server.url) as side:
            fleet = Fleet(side.bus, side.inbox)
            watched = Watched(fleet, Clock(), side, [])
            watching = asyncio.create_task(fleet.watch_silence())
            server.pause()
            await until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED)
            await watched.take(joined())
            await anyio.sleep(1)  # more than three heartbeats
            assert watched.names() == ["one"]
            server.resume()
            await until(lambda: not watched.names())  # now it could be heard, and is not
            watching.cancel()
