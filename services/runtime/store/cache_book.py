"""How many entries of the cache live, and how they are all made invalid at once; each is one step for the store."""

import secrets
from typing import Final

from services.runtime.store.cache_keys import PREFIX, TALLIES, CacheScope, generation, tallies_of, tally
from services.runtime.store.client import Script, Store

_GENERATION_S: Final = 30 * 24 * 3600
"""After so long it is forgotten, and with it, harmlessly, whatever was written under it and still lives."""

_ANY_TALLY: Final = PREFIX + "tally:"

# There may be thousands of tallies, and everybody waits meanwhile: one command for each, the rest for many at once.
# Garbage under our names is deleted on the way: a key of another type is no tally. A name in the set that is not of a
# tally is somebody else's key, which is left alone. All this has to work on a full store, too.
_COMMON: Final = """#!lua flags=allow-oom
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local function begins(name, prefix)
  return string.sub(name, 1, #prefix) == prefix
end

local function names(tallies)
  local found = redis.pcall('SMEMBERS', tallies)
  if found.err then
    redis.call('UNLINK', tallies)
    return {}
  end
  return found
end

local function fresh(tally)
  local found = redis.pcall('ZCOUNT', tally, '(' .. now, '+inf')
  return type(found) == 'number' and found or 0
end

local function for_many(names, act)
  for first = 1, #names, 1000 do
    act(unpack(names, first, math.min(first + 999, #names)))
  end
end

local function forget(tallies, ended)
  for_many(ended, function(...) redis.call('UNLINK', ...) end)
  for_many(ended, function(...) redis.call('SREM', tallies, ...) end)
end
"""

_CLEAR: Final = Script(
    _COMMON
    + """
local generation, tallies = KEYS[1], KEYS[2]
local new, seconds, prefix = ARGV[1], ARGV[2], ARGV[3]

redis.call('SET', generation, new, 'EX', seconds)
local live, ended = 0, {}
for _, tally in ipairs(names(tallies)) do
  if begins(tally, prefix) then
    live = live + fresh(tally)
    ended[#ended + 1] = tally
  end
end
forget(tallies, ended)
return live
"""
)

_COUNT: Final = Script(
    _COMMON
    + """
local tallies, prefix = KEYS[1], ARGV[1]

local by_server, ended, strange = {}, {}, {}
for _, tally in ipairs(names(tallies)) do
  if not begins(tally, prefix) then
    strange[#strange + 1] = tally
  else
    local live = fresh(tally)
    if live > 0 then
      local server = string.match(tally, '^[^:]*', #prefix + 1)
      by_server[server] = (by_server[server] or 0) + live
    else
      ended[#ended + 1] = tally
    end
  end
end
forget(tallies, ended)
for_many(strange, function(...) redis.call('SREM', tallies, ...) end)

local counted = {}
for server, live in pairs(by_server) do
  counted[#counted + 1] = {server, live}
end
return counted
"""
)


async def clear(store: Store, scope: CacheScope) -> int:
    """Make all entries of the scope invalid; return how many of them were fresh, by the store's clock.

    Raises:
        StoreAwayError, StoreRefusedError: as `Store.run`; after a StoreAwayError they may have been made invalid.
    """
    cleared: int = await store.run(
        _CLEAR, [generation(scope), TALLIES], [secrets.token_hex(16), _GENERATION_S, _tallies(scope)]
    )
    return cleared


async def count(store: Store) -> dict[str, int]:
    """Return how many fresh entries each server has, by the store's clock; servers without any are left out.

    An entry that the store dropped for lack of memory counts until it would have ended to be fresh.

    Raises:
        StoreAwayError, StoreRefusedError: as `Store.run`.
    """
    counted: list[tuple[bytes, int]] = await store.run(_COUNT, [TALLIES], [_ANY_TALLY])
    return {server.decode(errors="replace"): live for server, live in counted}


def _tallies(scope: CacheScope) -> str:
    """What the names of the scope's tallies begin with: of a tool it is the whole name."""
    if scope.server is None:
        return _ANY_TALLY
    if scope.target is None:
        return tallies_of(scope.server)
    return tally(scope.server, scope.target)
