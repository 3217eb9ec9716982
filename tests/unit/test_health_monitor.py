"""What the health service makes of what it hears: the words of workers, orchestrators, breakers and the bus."""

import asyncio
from typing import Any, cast

import orjson
import pytest
from prometheus_client import CollectorRegistry

from bus_schemas import subjects
from bus_schemas.breakers import ADMIN, BreakerChanged, BreakerState
from bus_schemas.replicas import OrchestratorHeartbeat, OrchestratorLeft
from bus_schemas.workers import Catalogue, WorkerDraining, WorkerHeartbeat, WorkerJoined, WorkerState
from services.health.hearing import Hearing
from services.health.metrics import ServerMetrics
from services.health.monitor import HealthMonitor, Sources
from services.health.roll import without_catalogue
from services.runtime.breakers import BreakerWords
from services.runtime.bus import BusAwayError, BusMessage
from services.runtime.config.policy import Policy, ServerPolicy
from services.runtime.maintenance import MaintenanceWords
from services.runtime.metrics import expose
from services.runtime.replicas import Replicas
from tests.support.announced import AnnouncedFleet

pytestmark = pytest.mark.anyio


class FakeBus:
    """Answers at once unless it is frozen or away."""

    def __init__(self) -> None:
        self.connected = True
        self.moving = asyncio.Event()
        self.moving.set()
        self.asked = asyncio.Event()

    async def fence(self) -> None:
        self.asked.set()
        if not self.connected:
            raise BusAwayError
        await self.moving.wait()


class World:
    """A monitor, and everything that it hears."""

    def __init__(self, *servers: str) -> None:
        self.now = 100.0
        self.bus = FakeBus()
        self.hearing = Hearing(self.bus, clock=lambda: self.now)
        self.workers = AnnouncedFleet()
        self.replicas = Replicas(cast("Any", self.bus), cast("Any", None), clock=lambda: self.now)
        self.breakers = BreakerWords(clock=lambda: self.now, wall_clock=lambda: self.now)
        self.maintenance = MaintenanceWords(wall_clock=lambda: self.now)
        self.monitor = HealthMonitor(Policy(servers=dict.fromkeys(servers, ServerPolicy())), clock=lambda: self.now)
        self.monitor.watch(Sources(self.hearing, self.workers.fleet, self.replicas, self.breakers, self.maintenance))

    async def orchestrator(self, instance: str, *, leaves: bool = False) -> None:
        """Let it say that it lives, or that it leaves."""
        event = (
            OrchestratorLeft(instance=instance) if leaves else OrchestratorHeartbeat(instance=instance, started_at=0)
        )
        subject = subjects.orchestrator_event(instance)
        await self.replicas.take_event(BusMessage(cast("Any", None), subject=subject, data=event.encode()))

    def breaker(
        self, state: BreakerState, *, open_s: float = 30.0, by: str = "o1", version: str | None = "1.0.0"
    ) -> None:
        """Let somebody say what has become of the breaker of the server `a`."""
        self.breakers.take(
            BreakerChanged(
                server="a",
                version=version,
                state=state,
                epoch=int(self.now * 1000),
                open_ms=round(open_s * 1000),
                by=by,
            )
        )

    def error(self, server: str = "a") -> str | None:
        """Return why the server is down; None: it is connected."""
        self.now += 0.2  # reports are kept for a tenth of a second
        told: dict[str, Any] = orjson.loads(self.monitor.answer().body)["mcp_servers"][server]
        return told.get("error")


async def test_a_server_whose_breaker_is_open_is_disconnected_until_the_breaker_closes_or_its_time_is_over() -> None:
    world = World("a")
    await world.workers.join("a")
    await world.orchestrator("o1")
    assert world.error() is None

    world.breaker(BreakerState.OPEN)
    assert world.error() == "Circuit open"
    world.breaker(BreakerState.HALF_OPEN)
    assert world.error() == "Circuit open"  # all calls but the probe are refused
    world.breaker(BreakerState.CLOSED)
    assert world.error() is None

    world.breaker(BreakerState.OPEN)
    world.now += 29
    assert world.error() == "Circuit open"
    world.now += 1
    assert world.error() is None


async def test_an_operators_isolation_opens_the_circuit_of_every_version() -> None:
    world = World("a")
    await world.workers.join("a", "1.0.0")
    await world.workers.join("a", "2.0.0")
    await world.orchestrator("o1")

    world.breaker(BreakerState.OPEN)
    assert world.error() is None  # the other version takes calls
    world.breaker(BreakerState.ISOLATED, by=ADMIN, version=None)
    assert world.error() == "Circuit open"


async def test_where_no_orchestrator_lives_no_circuit_is_open() -> None:
    world = World("a")
    await world.workers.join("a")
    await world.orchestrator("o1")
    world.breaker(BreakerState.OPEN)
    assert world.error() == "Circuit open"

    await world.orchestrator("o1", leaves=True)
    assert world.error() is None


async def test_a_server_that_an_operator_has_taken_out_is_in_maintenance_until_its_time_is_over() -> None:
    world = World("a", "b")
    await world.workers.join("b")
    assert world.error("a") == "No live worker"

    world.maintenance.take(world.maintenance.next("a", is_out=True, until=world.now + 60, reason="moving", by="admin1"))
    assert world.error("a") == "Maintenance"
    assert world.monitor.report().status == "healthy"
    world.now += 60
    assert world.error("a") == "No live worker"


async def test_a_draining_worker_is_none() -> None:
    world = World("a")
    worker = await world.workers.join("a")
    assert world.error() is None
    await world.workers.drain(worker)
    assert world.error() == "No live worker"


async def test_before_the_bus_is_reached_nothing_can_be() -> None:
    monitor = HealthMonitor(Policy(servers={"a": ServerPolicy()}))

    answer = monitor.answer()

    assert answer.status == 503
    assert orjson.loads(answer.body)["mcp_servers"]["a"]["error"] == "Bus unreachable"


async def test_a_bus_that_is_connected_and_silent_for_three_seconds_is_unreachable_until_it_answers() -> None:
    """Seen to fail where only the connection is looked at."""
    world = World("a")
    await world.workers.join("a")
    asking = asyncio.create_task(world.hearing.ask())
    async with asyncio.timeout(5):
        await world.bus.asked.wait()
        assert world.error() is None

        world.bus.moving.clear()
        world.bus.asked.clear()
        await world.bus.asked.wait()
        world.now += 2.5
        assert world.error() is None
        world.now += 0.5
        assert world.error() == "Bus unreachable"

        world.bus.moving.set()
        world.bus.asked.clear()
        await world.bus.asked.wait()
        assert world.error() is None
    asking.cancel()
    await asyncio.wait([asking])


async def test_a_bus_that_is_away_is_unreachable_at_once() -> None:
    world = World("a")
    await world.workers.join("a")
    world.bus.connected = False
    assert world.error() == "Bus unreachable"


async def test_a_report_is_written_once_for_all_who_ask_in_the_same_tenth_of_a_second() -> None:
    world = World("a")
    first = world.monitor.answer()
    await world.workers.join("a")
    world.now += 0.09
    assert world.monitor.answer() is first
    world.now += 0.02
    assert world.monitor.answer() is not first


async def test_every_configured_server_is_a_metric_from_the_first_scrape_on() -> None:
    world = World("a", "b", "never")
    await world.workers.join("a")
    await world.workers.join("b", state=WorkerState.UNAVAILABLE)
    await world.workers.join("stranger")
    registry = CollectorRegistry()
    ServerMetrics(registry, report=world.monitor.report, is_bus_up=lambda: world.monitor.is_bus_up)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    connected = {name: value("mcp_server_connected", server=name) for name in ("a", "b", "never", "stranger")}
    assert connected == {"a": 1.0, "b": 0.0, "never": 0.0, "stranger": None}
    assert value("mcp_server_in_maintenance", server="never") == 0.0
    assert value("mcp_servers_down_ratio") == pytest.approx(2 / 3)
    assert value("mcp_health_bus_up") == 1.0

    world.bus.connected = False
    assert (value("mcp_servers_down_ratio"), value("mcp_health_bus_up")) == (1.0, 0.0)
    assert value("mcp_server_connected", server="a") == 0.0
    assert b'mcp_server_connected{server="a"} 0.0' in expose(registry, "")[0]


def joined() -> WorkerJoined:
    offers = Catalogue(tools=[{"name": "x", "event": "left"}])
    return WorkerJoined(
        server="a",
        version="1.0.0",
        instance="i1",
        state=WorkerState.SERVING,
        started_at=1.5,
        sent_at=2.5,
        latency_ms=3.25,
        catalogue=offers.digest(),
        offers=offers,
    )


def test_an_event_without_its_catalogue_says_the_same_of_everything_else() -> None:
    beat = WorkerHeartbeat(**joined().model_dump(exclude={"event", "offers", "catalogue"}))

    assert WorkerHeartbeat.model_validate_json(without_catalogue(joined().encode())) == beat
    draining = WorkerDraining(server="a", version="1.0.0", instance="i1").encode()
    assert orjson.loads(without_catalogue(draining)) == orjson.loads(draining)


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff", b'"joined"', b"null"])
def test_what_is_no_event_is_left_for_the_table_to_refuse(data: bytes) -> None:
    assert without_catalogue(data) == data
