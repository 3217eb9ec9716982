"""What a flush makes invalid and counts: exactly that, whatever lies under the cache's names."""

from collections.abc import AsyncIterator

import anyio
import pytest
import redis.asyncio as redis

from services.runtime.store import Store, StoreAwayError, cache_book, cache_keys, client
from services.runtime.store.cache_keys import EVERYTHING, TALLIES, CacheScope, generation, tally
from tests.support.stores import STORES, StoreServer, opened, store_server

pytestmark = pytest.mark.anyio

LONG_MS = 60_000


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine pass for a store that answers."""
    monkeypatch.setattr(client, "_LIMIT_S", 20)


@pytest.fixture(params=STORES)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[StoreServer]:
    async with store_server(request.param) as running:
        yield running


@pytest.fixture
async def store(server: StoreServer) -> AsyncIterator[Store]:
    async with opened(server.url) as store:
        yield store


@pytest.fixture
async def outside(server: StoreServer) -> AsyncIterator[redis.Redis]:
    async with server.client() as client:
        yield client


async def enter(outside: redis.Redis, server: str, target: str, *, fresh: int = 0, past: int = 0) -> str:
    """Note so many entries as the orchestrators do; return their tally."""
    seconds, microseconds = await outside.time()
    now_ms = seconds * 1000 + microseconds // 1000
    name = tally(server, target)
    for n in range(fresh):
        await outside.zadd(name, {f"{target}-fresh-{n}": now_ms + LONG_MS})
    for n in range(past):
        await outside.zadd(name, {f"{target}-past-{n}": now_ms})
    await outside.sadd(TALLIES, name)
    return name


async def test_fresh_entries_are_counted_by_server(store: Store, outside: redis.Redis) -> None:
    with anyio.fail_after(10):
        assert await cache_book.count(store) == {}
        await enter(outside, "a", "one", fresh=2, past=3)
        await enter(outside, "a", "file:///two words", fresh=1)
        await enter(outside, "a-b", "one", fresh=4)
        await enter(outside, "c", "one", past=5)
        assert await cache_book.count(store) == {"a": 3, "a-b": 4}


async def test_a_tally_without_fresh_entries_is_forgotten(store: Store, outside: redis.Redis) -> None:
    with anyio.fail_after(10):
        left = await enter(outside, "a", "one", fresh=2, past=3)
        ended = await enter(outside, "a", "two", past=3)
        await enter(outside, "a", "three")
        await cache_book.count(store)
        assert not await outside.exists(ended)
        assert await outside.smembers(TALLIES) == {left.encode()}


@pytest.mark.parametrize(
    ("scope", "cleared", "left"),
    [
        (EVERYTHING, 15, {}),
        (CacheScope("a"), 3, {"a-b": 4, "ab": 8}),
        (CacheScope("a", "one"), 1, {"a": 2, "a-b": 4, "ab": 8}),
        (CacheScope("a", "three"), 0, {"a": 3, "a-b": 4, "ab": 8}),
        (CacheScope("d"), 0, {"a": 3, "a-b": 4, "ab": 8}),
    ],
)
async def test_a_flush_takes_its_scope_and_nothing_else(
    store: Store, outside: redis.Redis, scope: CacheScope, cleared: int, left: dict[str, int]
) -> None:
    with anyio.fail_after(10):
        await enter(outside, "a", "one", fresh=1, past=1)
        await enter(outside, "a", "two", fresh=2)
        await enter(outside, "a-b", "one", fresh=4)
        await enter(outside, "ab", "one", fresh=8)
        assert await cache_book.clear(store, scope) == cleared
        assert await cache_book.count(store) == left
        assert await cache_book.clear(store, scope) == 0


@pytest.mark.parametrize("scope", [EVERYTHING, CacheScope("a"), CacheScope("a", "one")])
async def test_each_flush_gives_its_scope_a_generation_that_never_was(
    store: Store, outside: redis.Redis, scope: CacheScope
) -> None:
    with anyio.fail_after(10):
        seen = set()
        for n in range(50):
            await cache_book.clear(store, scope)
            seen.add(await outside.get(generation(scope)))
            if n % 10 == 0:
                await outside.flushall()
        assert len(seen) == 50
        assert None not in seen
        assert 29 * 86_400 < await outside.ttl(generation(scope)) <= 30 * 86_400
        others = {generation(EVERYTHING), generation(CacheScope("a")), generation(CacheScope("a", "one"))}
        assert await outside.exists(*(others - {generation(scope)})) == 0


GARBAGE = ["SET {} text", "LPUSH {} element", "HSET {} field value", "XADD {} * field value"]


@pytest.mark.parametrize("garbage", [*GARBAGE, "SADD {} member"])
async def test_garbage_in_the_place_of_a_tally_is_deleted_on_the_way(
    store: Store, outside: redis.Redis, garbage: str
) -> None:
    with anyio.fail_after(10):
        for act in (cache_book.count(store), cache_book.clear(store, EVERYTHING)):
            await enter(outside, "a", "one", fresh=2)
            damaged = await enter(outside, "b", "one")
            await outside.execute_command(*garbage.format(damaged).split())  # type: ignore[no-untyped-call]
            assert await act in ({"a": 2}, 2)
            assert not await outside.exists(damaged)
            assert not await outside.sismember(TALLIES, damaged)


@pytest.mark.parametrize("garbage", [*GARBAGE, "ZADD {} 1 member"])
async def test_garbage_in_the_place_of_the_tallies_is_deleted_and_a_generation_is_given(
    store: Store, outside: redis.Redis, garbage: str
) -> None:
    with anyio.fail_after(10):
        for act in (cache_book.count(store), cache_book.clear(store, EVERYTHING)):
            await outside.execute_command(*garbage.format(TALLIES).split())  # type: ignore[no-untyped-call]
            assert not await act
            assert not await outside.exists(TALLIES)
        assert await outside.get(generation(EVERYTHING))
        await enter(outside, "a", "one", fresh=2)
        assert await cache_book.count(store) == {"a": 2}


@pytest.mark.parametrize("garbage", [*GARBAGE, "SADD {} member", "ZADD {} 1 member"])
async def test_garbage_in_the_place_of_a_generation_gives_way_to_one(
    store: Store, outside: redis.Redis, garbage: str
) -> None:
    with anyio.fail_after(10):
        place = generation(CacheScope("a"))
        await outside.execute_command(*garbage.format(place).split())  # type: ignore[no-untyped-call]
        assert await cache_book.clear(store, CacheScope("a")) == 0
        assert await outside.type(place) == b"string"
        assert await outside.get(place) != b"text"


async def test_a_name_among_the_tallies_that_is_none_is_taken_out_and_its_key_left_alone(
    store: Store, outside: redis.Redis
) -> None:
    with anyio.fail_after(10):
        strange = ["somebody-elses", cache_keys.entry("digest"), TALLIES]
        await outside.set("somebody-elses", "value")
        await outside.sadd(TALLIES, *strange, "")
        await enter(outside, "a", "one", fresh=2)
        assert await cache_book.clear(store, EVERYTHING) == 2
        assert await cache_book.count(store) == {}
        assert not await outside.exists(TALLIES)
        assert await outside.get("somebody-elses") == b"value"


async def test_a_full_store_is_counted_and_flushed_too(store: Store, outside: redis.Redis) -> None:
    with anyio.fail_after(10):
        name = await enter(outside, "a", "one", fresh=2)
        await outside.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            await outside.set("key", "value")
        assert await cache_book.count(store) == {"a": 2}
        assert await cache_book.clear(store, CacheScope("a")) == 2
        assert await outside.get(generation(CacheScope("a")))
        assert not await outside.exists(name)


async def test_a_store_that_is_away_claims_nothing(server: StoreServer) -> None:
    with anyio.fail_after(10):
        async with opened(server.url) as store:
            await server.kill()
            with pytest.raises(StoreAwayError):
                await cache_book.clear(store, EVERYTHING)
            with pytest.raises(StoreAwayError):
                await cache_book.count(store)


async def test_any_number_of_tools_is_counted_and_flushed(store: Store, outside: redis.Redis) -> None:
    with anyio.fail_after(30):
        pipe = outside.pipeline()
        for n in range(5_000):
            name = tally("a", f"tool-{n}")
            pipe.zadd(name, {"entry": 10**15 if n % 2 else 1})
            pipe.sadd(TALLIES, name)
        await pipe.execute()
        assert await cache_book.count(store) == {"a": 2_500}
        assert await outside.scard(TALLIES) == 2_500
        assert await cache_book.clear(store, EVERYTHING) == 2_500
        assert await outside.keys() == [generation(EVERYTHING).encode()]
