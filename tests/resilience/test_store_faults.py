"""Whatever happens to the store, every query is answered, and no answer is another's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis.asyncio as redis

from services.runtime.store import cache_keys
from tests.support.fleet import Fleet, fleet, python_server
from tests.support.records import read_ledger
from tests.support.servers import ValkeyServer, valkey_server

pytestmark = pytest.mark.anyio

CLOCK = "tests.support.mcp_servers.clock"
_names = count()


@dataclass(frozen=True)
class Broken:
    """A fleet and its store, which the tests break; each leaves it as it was."""

    fleet: Fleet
    store: ValkeyServer
    ledger: Path

    async def ask(self, key: str, *, orchestrator: int = 0) -> dict[str, Any]:
        query = {"server": "clock", "tool": "now", "arguments": {"key": key}}
        answer = await self.fleet.ask_http(query, orchestrator=orchestrator)
        assert answer.status == 200, answer.body
        told: dict[str, Any] = answer.json
        return told

    async def ask_many(self) -> None:
        """Ask 100 questions at once, ten times each, over both orchestrators; the answers are to what was asked."""
        keys = [f"many-{next(_names)}" for _ in range(100)]
        told = await asyncio.gather(*(self.ask(key, orchestrator=number % 2) for number in range(10) for key in keys))
        for key, answer in zip(keys * 10, told, strict=True):
            assert json.loads(answer["result"]["content"][0]["text"])["key"] == key

    def calls(self, key: str) -> int:
        return sum(line.id == key for line in read_ledger(self.ledger))

    async def is_cached_again(self) -> None:
        """Return when each orchestrator gives again what the other has asked for."""
        with anyio.fail_after(20):
            for number in range(2):
                use = ""
                while use != "hit":
                    key = f"again-{next(_names)}"
                    await self.ask(key, orchestrator=number)
                    use = (await self.ask(key, orchestrator=1 - number))["cache"]


@pytest.fixture(scope="module")
async def broken(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broken]:
    ledger = tmp_path_factory.mktemp("store-faults") / "ledger.jsonl"
    config = {
        "clock": python_server(
            CLOCK, "--ledger", str(ledger), tools={"now": {"cache_ttl_s": 60, "cache_scope": "public"}}
        )
    }
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(valkey_server(config="maxmemory 32mb\nmaxmemory-policy noeviction"))
        running = await stack.enter_async_context(fleet(config, orchestrators=2, store=store))
        yield Broken(running, store, ledger)


async def test_a_store_that_is_killed_costs_no_query(broken: Broken) -> None:
    await broken.is_cached_again()
    asking = asyncio.create_task(broken.ask_many())
    await broken.store.kill()
    await asking
    await broken.ask_many()
    await broken.store.restart()
    await broken.is_cached_again()


async def test_a_store_that_hangs_costs_no_query_and_is_not_waited_for_again(broken: Broken) -> None:
    await broken.is_cached_again()
    asking = asyncio.create_task(broken.ask_many())
    broken.store.pause()
    try:
        await asking
        await broken.ask_many()
    finally:
        broken.store.resume()
    await broken.is_cached_again()


async def test_a_flush_from_outside_makes_misses(broken: Broken) -> None:
    await broken.is_cached_again()
    await broken.ask("flushed")
    async with redis.Redis.from_url(broken.store.url) as client:
        await client.flushall()
    with anyio.fail_after(10):  # each orchestrator's memory is good for a second
        while (await broken.ask("flushed"))["cache"] != "miss":
            await anyio.sleep(0.05)
    assert broken.calls("flushed") == 2
    await broken.is_cached_again()


async def test_a_full_store_costs_no_query(broken: Broken) -> None:
    async with redis.Redis.from_url(broken.store.url) as client:
        with suppress(redis.RedisError):
            for number in range(100):
                await client.set(f"fill-{number}", b"x" * 2**20)
        with pytest.raises(redis.RedisError):
            await client.set("one-more", b"x" * 2**20)
        await broken.ask_many()
        await client.flushall()
    await broken.is_cached_again()


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: ["SET", key, "garbage"],
        lambda key: ["RPUSH", key, "garbage"],
        lambda key: ["HSET", key, "answer", "garbage"],
        lambda key: ["HSET", key, "stale_ms", "garbage"],
    ],
    ids=["text", "list", "answer", "time"],
)
async def test_garbage_under_our_names_costs_no_query(broken: Broken, damage: Callable[[str], list[str]]) -> None:
    await broken.ask_many()
    async with redis.Redis.from_url(broken.store.url) as client:
        names = [name.decode() async for name in client.scan_iter(cache_keys.PREFIX + "*")]
        assert len(names) > 100
        for name in names:
            command = damage(name)
            if command[0] != "HSET":
                await client.delete(name)
            elif await client.type(name) != b"hash":
                continue
            await client.execute_command(*command)  # type: ignore[no-untyped-call]
        await broken.ask_many()
        await client.flushall()
    await broken.is_cached_again()


async def test_an_answer_under_another_key_is_not_taken_for_its_own(broken: Broken) -> None:
    """As a mistake of somebody who restores a backup might leave it."""
    mine, theirs = f"swap-{next(_names)}", f"swap-{next(_names)}"
    async with redis.Redis.from_url(broken.store.url) as client:
        await client.flushall()
        await broken.ask(mine)
        (kept,) = [name async for name in client.scan_iter(cache_keys.entry("*"))]
        answer = await client.hget(kept, "answer")
        await broken.ask(theirs)
        (other,) = [name async for name in client.scan_iter(cache_keys.entry("*")) if name != kept]
        await client.hset(other, "answer", answer)
    told = await broken.ask(theirs, orchestrator=1)
    assert json.loads(told["result"]["content"][0]["text"])["key"] == theirs
