"""What is counted of each version, for which servers, and what of a call counts."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from bus_schemas.latencies import latency_bucket
from bus_schemas.replicas import VersionCounts
from services.orchestrator.catalogue import CatalogueView
from services.orchestrator.dispatch import Outcome
from services.orchestrator.tallies import VersionTallies
from services.runtime.errors import (
    CircuitOpenError,
    DeadlineExceededError,
    NoWorkerError,
    OverloadedError,
    QueryError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.runtime.rollouts import RolloutWords
from tests.support.announced import AnnouncedFleet
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio

WELL = Outcome(b'{"content":[],"isError":false}', "i1", 1, 1)
TOOL_ERROR = Outcome(b'{"content":[],"isError":true}', "i1", 1, 1, says_error=True)


class Counted:
    """The tallies of one orchestrator before an announced fleet."""

    def __init__(self) -> None:
        self.announced = AnnouncedFleet()
        self.words = RolloutWords(Clock())
        self.catalogue = CatalogueView(self.announced.fleet, rollout=self.words.weights)
        self.clock = Clock()
        self.tallies = VersionTallies(self.catalogue, self.words, self.clock)

    async def call(
        self, ending: Outcome | QueryError, *, version: str = "1.0.0", seconds: float = 0.01
    ) -> Outcome | QueryError:
        """Make one call that takes so long and ends so; return what became of it."""

        async def call() -> Outcome:
            self.clock.now += seconds
            if isinstance(ending, QueryError):
                raise ending
            return ending

        try:
            return await self._counting(version, call)()
        except QueryError as error:
            return error

    def told(self, version: str = "1.0.0") -> VersionCounts | None:
        """What the heartbeat would say of a version."""
        return next((counts for counts in self.tallies.told() if counts.version == version), None)

    def _counting(self, version: str, call: Callable[[], Awaitable[Outcome]]) -> Callable[[], Awaitable[Outcome]]:
        live = self.catalogue.live("a")
        assert live is not None
        return self.tallies.counting(live.versions[version], call)


@pytest.fixture
async def counted() -> Counted:
    """With two live versions of the server."""
    made = Counted()
    for version in ("1.0.0", "2.0.0"):
        await made.announced.join("a", version, tools=[{"name": "record"}])
    return made


async def test_requests_errors_and_times_are_counted_by_version(counted: Counted) -> None:
    for seconds in (0.01, 0.01, 0.5):
        assert await counted.call(WELL, seconds=seconds) is WELL
    await counted.call(UpstreamError(), version="2.0.0", seconds=0.1)
    assert counted.told() == VersionCounts(
        server="a", version="1.0.0", requests=3, latencies={latency_bucket(0.01): 2, latency_bucket(0.5): 1}
    )
    assert counted.told("2.0.0") == VersionCounts(
        server="a", version="2.0.0", requests=1, errors=1, latencies={latency_bucket(0.1): 1}
    )


@pytest.mark.parametrize(
    ("ending", "requests", "errors"),
    [
        (TOOL_ERROR, 1, 1),
        (WELL, 1, 0),
        (UpstreamError(), 1, 1),
        (DeadlineExceededError(), 1, 1),
        (UpstreamRefusedError(), 1, 1),
        (OverloadedError(), 1, 1),
        (NoWorkerError(), 0, 0),
        (CircuitOpenError(), 0, 0),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_counts_as_an_error(
    counted: Counted, ending: Outcome | QueryError, requests: int, errors: int
) -> None:
    assert await counted.call(ending) is ending
    told = counted.told()
    assert told is not None
    assert (told.requests, told.errors) == (requests, errors)


async def test_a_call_in_flight_counts_by_its_age_and_one_given_up_not_at_all(counted: Counted) -> None:
    live = counted.catalogue.live("a")
    assert live is not None
    begun = asyncio.Event()

    async def hang() -> Outcome:
        begun.set()
        await anyio.sleep_forever()
        raise AssertionError

    call = asyncio.ensure_future(counted.tallies.counting(live.versions["1.0.0"], hang)())
    await begun.wait()
    counted.clock.now += 3
    told = counted.told()
    assert told is not None
    assert (told.requests, told.in_flight) == (0, {latency_bucket(3): 1})
    call.cancel()
    await asyncio.wait([call])
    told = counted.told()
    assert told is not None
    assert (told.requests, told.in_flight) == (0, {})


async def test_a_version_is_forgotten_with_its_server_but_not_while_a_rollout_of_it_goes_on(counted: Counted) -> None:
    await counted.call(WELL)
    counted.words.take(counted.words.next("a", {"1.0.0": 100}, under_way=True, by="x"))
    for worker in list(counted.announced.fleet.workers()):
        await counted.announced.leave(worker.report)  # type: ignore[arg-type]
    assert counted.told() is not None
    counted.words.take(counted.words.next("a", {"1.0.0": 100}, under_way=False, by="x"))
    assert counted.tallies.told() == []


async def test_a_heartbeat_stays_small_and_rollouts_come_first_then_servers_with_several_versions(
    counted: Counted,
) -> None:
    for number in range(100):
        for version in ("1.0.0", "2.0.0") if number in (98, 99) else ("1.0.0",):
            await counted.announced.join(f"s{number}", version)
        live = counted.catalogue.live(f"s{number}")
        assert live is not None

        async def call() -> Outcome:
            return WELL

        await counted.tallies.counting(live.versions["1.0.0"], call)()
    counted.words.take(counted.words.next("s99", {"1.0.0": 100}, under_way=True, by="x"))
    told = counted.tallies.told()
    assert len(told) == 64
    assert [counts.server for counts in told[:3]] == ["s99", "s98", "s0"]


async def test_the_weights_of_a_rollout_are_those_of_its_server(counted: Counted) -> None:
    await counted.announced.join("b")
    live = counted.catalogue.live("a")
    assert live is not None
    assert live.weights == {"1.0.0": 100}
    counted.words.take(counted.words.next("a", {"1.0.0": 90, "2.0.0": 10}, under_way=True, by="x"))
    assert live.weights == {"1.0.0": 90, "2.0.0": 10}
    assert counted.catalogue.servers()["b"].weights == {"1.0.0": 100}
