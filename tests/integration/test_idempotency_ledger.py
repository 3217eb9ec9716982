"""The idempotency ledger on a real store: one run for each key, whatever becomes of the owner or of the store."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import redis.asyncio as redis

from services.orchestrator.idempotency.entries import Told
from services.orchestrator.idempotency.keys import KeyedQuery, keyed_query
from services.orchestrator.idempotency.ledger import IdempotencyLedger, OutcomeUnknownError
from services.orchestrator.reading import read_query
from services.runtime.auth.principals import ANONYMOUS
from services.runtime.errors import (
    DeadlineExceededError,
    IdempotencyConflictError,
    IdempotencyUnavailableError,
    OverloadedError,
    UpstreamError,
)
from services.runtime.lifecycle import Lifecycle
from services.runtime.store import Store, open_store
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

_WAIT_S = 15.0


def _keyed(key: str = "k", **arguments: Any) -> KeyedQuery:
    return keyed_query(key, ANONYMOUS, read_query(json.dumps({"tool": "t", "arguments": arguments}).encode()))


def _told(body: bytes = b"{}", *, error_type: str | None = None) -> Told:
    return Told(200, "application/json", body, "s", error_type)


class Side:
    """One orchestrator's ledger, and the runs that it lets through."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock_ahead_s = 0.0
        self.ledger = IdempotencyLedger(store, lambda: asyncio.get_running_loop().time() + self.clock_ahead_s)
        self.runs = 0
        self.refusals = 0
        self.owner = ""
        self.may_have_run = True
        self.ids = iter(range(1_000_000))
        self.going: Callable[[], asyncio.Future[None]] | None = None

    async def once(
        self, keyed: KeyedQuery | None = None, outcome: Told | Exception | None = None, *, within_s: float = _WAIT_S
    ) -> tuple[Told, bool]:
        """Ask, and again while the store is slow on a busy machine; a run that is let through has this outcome."""
        with anyio.fail_after(2 * _WAIT_S):
            while True:
                try:
                    return await self.once_only(keyed, outcome, within_s=within_s)
                except IdempotencyUnavailableError:
                    self.refusals += 1
                    await anyio.sleep(0.1)

    async def once_only(
        self, keyed: KeyedQuery | None = None, outcome: Told | Exception | None = None, *, within_s: float = _WAIT_S
    ) -> tuple[Told, bool]:
        """Ask as `once` does, and take any answer."""

        async def run() -> Told:
            self.runs += 1
            self.owner = query_id
            if self.going is not None:
                await self.going()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome or _told(b"%d" % self.runs)

        deadline = asyncio.get_running_loop().time() + self.clock_ahead_s + within_s
        query_id = f"{id(self)}-{next(self.ids)}"
        with anyio.fail_after(2 * _WAIT_S):
            return await self.ledger.once(
                keyed or _keyed(), query_id, deadline, run, may_have_run=lambda: self.may_have_run
            )


class Gate:
    """Holds runs until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.opened.wait()

    async def reached_by(self, asking: "asyncio.Task[Any]") -> None:
        await until(lambda: self.reached.is_set() or asking.done())
        assert self.reached.is_set(), asking


def _held(side: Side) -> Gate:
    gate = Gate()
    side.going = lambda: asyncio.ensure_future(gate())
    return gate


@asynccontextmanager
async def _side(server: ValkeyServer | None) -> AsyncIterator[Side]:
    async with Lifecycle() as life, open_store(None if server is None else server.url, life) as store:
        side = Side(store)
        try:
            yield side
        finally:
            await side.ledger.close()


@pytest.fixture
async def sides(valkey: ValkeyServer) -> AsyncIterator[tuple[Side, Side]]:
    async with _side(valkey) as one, _side(valkey) as other:
        yield one, other


async def test_fifty_at_once_over_two_replicas_run_once(sides: tuple[Side, Side]) -> None:
    answers = await asyncio.gather(*(sides[number % 2].once(outcome=_told(b"%d" % number)) for number in range(50)))
    assert sides[0].runs + sides[1].runs == 1
    assert len({told.body for told, _ in answers}) == 1
    assert sorted(is_repeated for _, is_repeated in answers) == [False] + [True] * 49


async def test_what_was_told_is_told_again_as_it_was(sides: tuple[Side, Side]) -> None:
    first = Told(502, "application/problem+json", b'{"code": "upstream_refused"}', None, "upstream_refused")
    assert await sides[0].once(outcome=first) == (first, False)
    assert await sides[1].once() == (first, True)


async def test_another_body_is_a_conflict_while_the_first_runs_and_after(sides: tuple[Side, Side]) -> None:
    gate = _held(sides[0])
    first = asyncio.create_task(sides[0].once(_keyed(a=1)))
    await gate.reached_by(first)
    with pytest.raises(IdempotencyConflictError):
        await sides[1].once(_keyed(a=2))
    gate.opened.set()
    await first
    with pytest.raises(IdempotencyConflictError):
        await sides[1].once(_keyed(a=2))
    assert (sides[0].runs, sides[1].runs) == (1, 0)


async def test_a_failure_that_certainly_never_ran_leaves_the_key_free(sides: tuple[Side, Side]) -> None:
    gate = _held(sides[0])
    first = asyncio.create_task(sides[0].once(_keyed(a=1), OverloadedError()))
    await gate.reached_by(first)
    waiting = asyncio.create_task(sides[1].once(_keyed(a=1)))
    gate.opened.set()
    with pytest.raises(OverloadedError):
        await first
    assert await waiting == (_told(b"1"), False)
    with pytest.raises(OverloadedError):
        await sides[1].once(_keyed("other", a=1), OverloadedError())
    assert await sides[1].once(_keyed("other", a=2), _told(b"ran"))  # nor is it bound to its body
    assert (sides[0].runs, sides[1].runs) == (1, 3)


async def test_a_failure_that_may_have_run_and_was_not_told_stays_unknown(sides: tuple[Side, Side]) -> None:
    with pytest.raises(UpstreamError):
        await sides[0].once(outcome=UpstreamError())
    for side in (*sides, *sides):
        with pytest.raises(OutcomeUnknownError) as unknown:
            await side.once()
        assert unknown.value.first_id == sides[0].owner
    assert (sides[0].runs, sides[1].runs) == (1, 0)


@pytest.mark.parametrize("may_have_run", [True, False])
async def test_the_key_of_a_caller_that_went_away_is_free_only_if_nothing_was_dispatched(
    sides: tuple[Side, Side], may_have_run: bool
) -> None:
    gate, sides[0].may_have_run = _held(sides[0]), may_have_run
    first = asyncio.create_task(sides[0].once())
    await gate.reached_by(first)
    waiting = asyncio.create_task(sides[1].once())
    first.cancel()
    if may_have_run:
        with pytest.raises(OutcomeUnknownError):
            await waiting
    else:
        assert await waiting == (_told(b"1"), False)
    assert sides[1].runs == (0 if may_have_run else 1)


async def test_whoever_waits_stops_at_its_own_deadline(sides: tuple[Side, Side]) -> None:
    gate = _held(sides[0])
    first = asyncio.create_task(sides[0].once())
    await gate.reached_by(first)
    with pytest.raises(DeadlineExceededError):
        await sides[1].once(within_s=0.05)
    gate.opened.set()
    assert await first == (_told(b"1"), False)
    assert await sides[1].once() == (_told(b"1"), True)


async def test_an_owner_that_says_nothing_leaves_an_unknown_outcome_and_cannot_change_it_later(
    sides: tuple[Side, Side],
) -> None:
    gate = _held(sides[0])
    first = asyncio.create_task(sides[0].once(within_s=0))
    await gate.reached_by(first)
    with pytest.raises(OutcomeUnknownError) as unknown:
        await sides[1].once()
    assert unknown.value.first_id == sides[0].owner
    gate.opened.set()
    assert await first == (_told(b"1"), False)
    with pytest.raises(OutcomeUnknownError):
        await sides[1].once()
    assert (sides[0].runs, sides[1].runs) == (1, 0)


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 16 * 2**20 + 300])
async def test_an_outcome_of_any_size_is_kept(sides: tuple[Side, Side], size: int) -> None:
    told = _told(bytes(number % 251 for number in range(1024)) * (size // 1024) + b"x" * (size % 1024))
    assert await sides[0].once(outcome=told) == (told, False)
    assert await sides[1].once() == (told, True)


async def test_without_a_store_nothing_runs() -> None:
    async with _side(None) as side:
        with pytest.raises(IdempotencyUnavailableError):
            await side.once_only()
        assert side.runs == 0


async def test_a_store_that_evicts_everything_is_not_trusted() -> None:
    config = "maxmemory 100mb\nmaxmemory-policy allkeys-lru"
    async with valkey_server(config=config) as server, _side(server) as side:
        with pytest.raises(IdempotencyUnavailableError):
            await side.once_only()
        assert side.runs == 0


async def test_a_store_that_evicts_what_has_a_lifetime_keeps_all_entries() -> None:
    config = "maxmemory 20mb\nmaxmemory-policy volatile-lru"
    async with valkey_server(config=config) as server, _side(server) as side, redis.from_url(server.url) as client:
        await side.once()
        for number in range(300):
            await client.set(f"cache-{number}", b"x" * 2**17, ex=600)
        assert await client.dbsize() < 200
        assert await side.once() == (_told(b"1"), True)


async def test_a_full_store_runs_nothing_and_an_outcome_it_cannot_keep_is_answered_all_the_same() -> None:
    async with valkey_server() as server, _side(server) as side, redis.from_url(server.url) as client:
        gate = _held(side)
        first = asyncio.create_task(side.once())
        refused = asyncio.create_task(side.once(_keyed("free"), OverloadedError()))
        await until(lambda: side.runs == 2)
        await client.config_set("maxmemory", 1)
        with pytest.raises(IdempotencyUnavailableError):
            await side.once_only(_keyed("new"))
        gate.opened.set()
        assert await first == (_told(b"2"), False)
        with pytest.raises(OverloadedError):
            await refused
        with pytest.raises(OutcomeUnknownError):
            await side.once()
        assert side.runs == 2


async def test_garbage_in_the_place_of_an_entry_runs_nothing(valkey: ValkeyServer) -> None:
    async with _side(valkey) as side, redis.from_url(valkey.url) as client:
        keyed = _keyed()
        entry = f"busbar:v1:idempotency:{keyed.caller_key}"
        await client.set(entry, b"garbage")
        with pytest.raises(IdempotencyUnavailableError):
            await side.once_only(keyed)
        await client.delete(entry)
        await client.hset(entry, mapping={"owner": "o", "digest": keyed.digest, "known_by": "1", "about": "[garbage"})
        with pytest.raises(IdempotencyUnavailableError):
            await side.once_only(keyed)
        assert side.runs == 0


async def test_an_outcome_is_kept_when_the_store_comes_back_in_time() -> None:
    async with valkey_server() as server, _side(server) as side:
        gate = _held(side)
        first = asyncio.create_task(side.once())
        await gate.reached_by(first)
        server.pause()
        gate.opened.set()
        assert await first == (_told(b"1"), False)
        with pytest.raises(IdempotencyUnavailableError):
            await side.once_only(_keyed("other"))
        server.resume()
        await until(lambda: not side.store.is_away)
        assert await side.once() == (_told(b"1"), True)
        assert side.runs == 1


async def test_a_claim_that_a_hung_store_takes_too_late_is_given_back() -> None:
    async with valkey_server() as server, _side(server) as side:
        await side.once(_keyed("other"))  # from now on the store knows the script
        server.pause()
        with pytest.raises(IdempotencyUnavailableError):
            await side.once_only()
        server.resume()
        await until(lambda: not side.store.is_away)
        assert await side.once() == (_told(b"2"), False)


async def test_who_waits_for_an_entry_that_the_store_has_lost_does_not_run_it_again() -> None:
    async with valkey_server() as server, _side(server) as side, _side(server) as other:
        gate = _held(side)
        first = asyncio.create_task(side.once())
        await gate.reached_by(first)
        waiting = asyncio.create_task(other.once())
        async with redis.from_url(server.url) as client:
            await _seen_waiting(client)
            await client.flushall()
        with pytest.raises(OutcomeUnknownError) as unknown:
            await waiting
        assert unknown.value.first_id is None
        gate.opened.set()
        await first
        assert (side.runs, other.runs) == (1, 0)


async def test_who_waits_bears_with_a_store_that_is_away_for_a_while() -> None:
    config = "appendonly yes\nappendfsync always"
    async with valkey_server(config=config) as server, _side(server) as side, _side(server) as other:
        gate = _held(side)
        first = asyncio.create_task(side.once())
        await gate.reached_by(first)
        waiting = asyncio.create_task(other.once())
        async with redis.from_url(server.url) as client:
            await _seen_waiting(client)
        refusals = other.refusals
        await server.kill()
        await until(lambda: other.store.is_away)
        await server.restart()
        await until(lambda: not side.store.is_away)
        gate.opened.set()
        assert await first == (_told(b"1"), False)
        assert await waiting == (_told(b"1"), True)
        assert (other.runs, other.refusals) == (0, refusals)


async def test_entries_go_after_a_day_and_not_before(valkey: ValkeyServer) -> None:
    async with _side(valkey) as side, redis.from_url(valkey.url) as client:
        keys = [f"k{number}" for number in range(30)]
        for key in keys:
            await side.once(_keyed(key))
        now_s, _ = await client.time()
        expiries: Any = await client.zrange("busbar:v1:idempotency", 0, -1, withscores=True)
        assert len(expiries) == 30
        assert all(math.isclose(score / 1000, now_s + 24 * 3600, abs_tol=60) for _, score in expiries)
        await client.zadd("busbar:v1:idempotency", {member: 1 for member, _ in expiries})
        await side.once(_keyed("one"))
        assert await client.zcard("busbar:v1:idempotency") == 30 - 20 + 1
        await side.once(_keyed("two"))
        assert {key async for key in client.scan_iter("busbar:*")} == {
            b"busbar:v1:idempotency",
            *(f"busbar:v1:idempotency:{_keyed(key).caller_key}".encode() for key in ("one", "two")),
        }
        assert await side.once(_keyed(keys[0])) == (_told(b"33"), False)


async def test_no_entry_has_a_lifetime_that_an_eviction_policy_could_see(
    sides: tuple[Side, Side], valkey: ValkeyServer
) -> None:
    await sides[0].once(_keyed("told"))
    with pytest.raises(OverloadedError):
        await sides[0].once(_keyed("released"), OverloadedError())
    with pytest.raises(UpstreamError):
        await sides[0].once(_keyed("unknown"), UpstreamError())
    async with redis.from_url(valkey.url) as client:
        lifetimes = [await client.ttl(key) async for key in client.scan_iter("busbar:*")]
    assert lifetimes == [-1] * 4


async def _seen_waiting(client: "redis.Redis") -> None:
    """Return when somebody has asked for the running entry several times more."""

    async def asked() -> int:
        stats = await client.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))

    start = await asked()
    with anyio.fail_after(_WAIT_S):
        while await asked() < start + 3:
            await anyio.sleep(0.01)
