"""Entries and generations in the shared store: one round trip to look an answer up, one to put it there."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from services.orchestrator.cache.entry import LARGEST_BYTES, Entry, Generations, decode_entry
from services.orchestrator.cache.rules import Lifetime
from services.runtime.store import Script, Store, cache_keys

_GENERATION_LASTS_S: Final = 30 * 86_400
_LEAD_MS: Final = 2_000
"""How long a replica leads with a question without saying so again: when it dies, others ask after this time."""

_LOOK_UP = Script("""
-- KEYS: three generations, the lead, the entries.  ARGV: a new generation, its lifetime in seconds,
-- who asks ('' where nobody leads), the lead's lifetime in milliseconds.
local generations = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])
for i = 1, 3 do
  if not generations[i] then
    generations[i] = ARGV[1]
    redis.call('SET', KEYS[i], ARGV[1], 'EX', ARGV[2])
  end
end
local valid = table.concat(generations, ' ')
local found = {}
for i = 5, #KEYS do
  local entry = redis.pcall('HMGET', KEYS[i], 'generations', 'stale_ms', 'answer')
  if entry[1] == valid then
    local fresh_ms = redis.call('PTTL', KEYS[i]) - (tonumber(entry[2]) or 0)
    if #found == 0 or (found[3] <= 0 and fresh_ms > 0) then
      found = {i - 5, entry[3], fresh_ms}
    end
  end
end
local leader = false
if ARGV[3] ~= '' and (#found == 0 or found[3] <= 0) then
  redis.call('SET', KEYS[4], ARGV[3], 'NX', 'PX', ARGV[4])
  leader = redis.call('MGET', KEYS[4])[1]
end
return {generations, leader, found}
""")

_PUT = Script("""
-- KEYS: three generations, the lead, the entry, its tally, the tallies.  ARGV: the generations, who asks,
-- the answer, how long it is fresh and how long after that it may stand in, in milliseconds, its digest.
local generations = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])
for i = 1, 3 do
  if generations[i] ~= ARGV[i] then
    return 0
  end
end
local function of_type(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
  end
end
of_type(KEYS[5], 'hash')
of_type(KEYS[6], 'zset')
of_type(KEYS[7], 'set')
redis.call('HSET', KEYS[5], 'generations', table.concat(generations, ' '), 'stale_ms', ARGV[7], 'answer', ARGV[5])
redis.call('PEXPIRE', KEYS[5], ARGV[6] + ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now)
redis.call('ZADD', KEYS[6], now + ARGV[6], ARGV[8])
if redis.call('PTTL', KEYS[6]) < tonumber(ARGV[6]) then
  redis.call('PEXPIRE', KEYS[6], ARGV[6])
end
redis.call('SADD', KEYS[7], KEYS[6])
if redis.call('MGET', KEYS[4])[1] == ARGV[4] then
  redis.call('DEL', KEYS[4])
end
return 1
""")

_LEAD_ON = Script("""
-- KEYS: the lead.  ARGV: who leads, its lifetime in milliseconds; 0 ends it.
if redis.call('MGET', KEYS[1])[1] ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answers of one tool are."""

    server: str
    target: str

    @property
    def generations(self) -> Sequence[str]:
        """The keys of its generations."""
        return cache_keys.generations(self.server, self.target)


@dataclass(frozen=True, slots=True)
class Found:
    """What the store says."""

    generations: Generations | None = None
    """None: the store cannot say, and takes nothing."""
    leads: bool = False
    """Whether this orchestrator is the one that asks for the answer now."""
    is_led_elsewhere: bool = False
    """Whether another one is."""
    digest: str = ""
    """Under which of the digests asked for the entry is."""
    entry: Entry | None = None
    fresh_s: float = 0.0
    """What is left of the entry's time; 0: it may only stand in for a failing server."""


class CacheStore:
    """The cache's part of the shared store, as one orchestrator uses it."""

    def __init__(self, store: Store, instance: str, took: Callable[[float], None] = lambda _: None) -> None:
        """Take the store.

        Args:
            store: the shared one.
            instance: of this orchestrator; what it leads with is in its name.
            took: is told how long each look-up took, in seconds, those that failed too.
        """
        self._store = store
        self._instance = instance
        self._took = took
        self._numbers = count()

    async def look_up(self, place: Place, digests: Sequence[str], *, leads: bool) -> Found:
        """Return what is there under the first digest that has a valid entry.

        Args:
            place: of which tool.
            digests: where the answer may be; the first one is what is led with.
            leads: whether to take the lead where nobody has it.

        Raises:
            StoreError: it is away, or cannot tell.
        """
        generation = f"{time.time_ns():x}.{self._instance}.{next(self._numbers)}"
        began_at = time.perf_counter()
        try:
            reply = await self._store.run(
                _LOOK_UP,
                [*place.generations, cache_keys.lead(digests[0]), *map(cache_keys.entry, digests)],
                [generation, _GENERATION_LASTS_S, self._instance if leads else "", _LEAD_MS],
            )
        finally:
            self._took(time.perf_counter() - began_at)
        (everything, server, tool), leader, entry = reply
        generations: Generations = (everything, server, tool)
        leads = leader == self._instance.encode()
        is_led_elsewhere = leader is not None and not leads
        if not entry:
            return Found(generations, leads, is_led_elsewhere)
        number, answer, fresh_ms = entry
        kept = decode_entry(answer or b"", digests[number])
        return Found(generations, leads, is_led_elsewhere, digests[number], kept, max(0.0, fresh_ms / 1000))

    async def put(
        self, place: Place, digest: str, entry: Entry, generations: Generations, lifetime: Lifetime, *, lead: str
    ) -> bool:
        """Put an answer under its digest, and end the lead; return False where it is too large, or a flush came.

        Args:
            place: of which tool.
            digest: where.
            entry: what.
            generations: as they were before the server was asked.
            lifetime: how long.
            lead: the digest that was led with.

        Raises:
            StoreError: it is away, or full.
        """
        if len(entry.result) > LARGEST_BYTES:
            return False
        keys = [
            *place.generations,
            cache_keys.lead(lead),
            cache_keys.entry(digest),
            cache_keys.tally(place.server, place.target),
            cache_keys.TALLIES,
        ]
        fresh_ms, stale_ms = max(1, int(lifetime.fresh_s * 1000)), int(lifetime.stale_s * 1000)
        answer = entry.encode(digest)
        return bool(
            await self._store.run(_PUT, keys, [*generations, self._instance, answer, fresh_ms, stale_ms, digest])
        )

    async def lead_on(self, digest: str) -> None:
        """Say that this orchestrator still fetches the answer. Raises StoreError."""
        await self._store.run(_LEAD_ON, [cache_keys.lead(digest)], [self._instance, _LEAD_MS])

    async def end_lead(self, digest: str) -> None:
        """Let others fetch the answer. Raises StoreError."""
        await self._store.run(_LEAD_ON, [cache_keys.lead(digest)], [self._instance, 0])
