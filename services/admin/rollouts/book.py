"""The rollouts in the shared store: one at a time for a server, changed by comparing, driven by one admin service.

A rollout that goes on and those that ended last are the fields of a hash without a lifetime, so that a store that
drops what has one when it is full keeps them. Whoever changes one says what it was before: who has not seen the last
change changes nothing, however long it was frozen.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from services.admin.errors import StoreUnavailableError
from services.admin.rollouts.rollout import Rollout
from services.runtime.store import Script, Store, StoreError

log = logging.getLogger(__name__)

_ALL: Final = "busbar:v1:rollouts"
_GOING: Final = _ALL + ":going"
"""The id of the rollout that goes on, by server."""
_DRIVER: Final = _ALL + ":driver"
_MOST_KEPT: Final = 200

_OPEN: Final = Script("""
-- KEYS: all, going.  ARGV: server, id, the rollout, how many are kept.
local going = redis.call('HGET', KEYS[2], ARGV[1])
if going and redis.call('HEXISTS', KEYS[1], going) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local ids = redis.call('HKEYS', KEYS[1])
table.sort(ids)
local keep = {}
for _, id in ipairs(redis.call('HVALS', KEYS[2])) do
  keep[id] = true
end
local too_many = #ids - tonumber(ARGV[4])
for _, id in ipairs(ids) do
  if too_many > 0 and not keep[id] then
    redis.call('HDEL', KEYS[1], id)
    too_many = too_many - 1
  end
end
return 1
""")

_REPLACE: Final = Script("""
-- KEYS: all, going.  ARGV: server, id, the rollout as it was, as it is from now on, whether it goes on ('1' or '0').
if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
if ARGV[5] == '0' and redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[2], ARGV[1])
end
return 1
""")

_READ: Final = Script("return redis.call('HGET', KEYS[1], ARGV[1])")
_READ_ALL: Final = Script("return redis.call('HVALS', KEYS[1])")
_READ_GOING: Final = Script("""
local found = {}
for _, id in ipairs(redis.call('HVALS', KEYS[2])) do
  local rollout = redis.call('HGET', KEYS[1], id)
  if rollout then
    found[#found + 1] = rollout
  end
end
return found
""")

_DRIVE: Final = Script("""
-- KEYS: the driver.  ARGV: who wants to drive, for how long, in milliseconds.
local driver = redis.call('GET', KEYS[1])
if driver and driver ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")

_LEAVE: Final = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
""")


@dataclass(frozen=True, slots=True)
class Entry:
    """A rollout, and the bytes that it was read from."""

    rollout: Rollout
    data: bytes


class RolloutBook:
    """Reads and changes them. Everything raises StoreUnavailableError where the store does not answer or refuses."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, rollout: Rollout) -> Entry | None:
        """Enter a new one; None: another one of the same server goes on."""
        data = _encode(rollout)
        opened = await self._run(_OPEN, rollout.server, rollout.id, data, _MOST_KEPT)
        return Entry(rollout, data) if opened else None

    async def replace(self, entry: Entry, rollout: Rollout) -> Entry | None:
        """Change one; None: it has changed meanwhile."""
        data, goes_on = _encode(rollout), int(not rollout.is_settled)
        replaced = await self._run(_REPLACE, rollout.server, rollout.id, entry.data, data, goes_on)
        return Entry(rollout, data) if replaced else None

    async def settle(self, entry: Entry) -> None:
        """Let one that is over, and of which the fleet knows, be in the way of no other of its server."""
        await self.replace(entry, entry.rollout.model_copy(update={"is_settled": True}))

    async def read(self, rollout_id: str) -> Entry | None:
        """Return one; None: there is none of that id."""
        data: bytes | None = await self._run(_READ, rollout_id)
        return None if data is None else next(_entries([data]), None)

    async def all(self) -> list[Rollout]:
        """Return those that are kept, the newest first."""
        rollouts = (entry.rollout for entry in _entries(await self._run(_READ_ALL)))
        return sorted(rollouts, key=lambda rollout: rollout.id, reverse=True)

    async def going(self) -> list[Entry]:
        """Return those that go on, or that have ended and of which the fleet has not been told."""
        return list(_entries(await self._run(_READ_GOING)))

    async def drive(self, instance: str, *, for_s: float) -> bool:
        """Claim to be the only one that drives, for so many seconds from now; whether that is so."""
        return bool(await self._ask(_DRIVE, [_DRIVER], instance, round(for_s * 1000)))

    async def stop_driving(self, instance: str) -> None:
        """Let another one drive at once."""
        await self._ask(_LEAVE, [_DRIVER], instance)

    async def _run(self, script: Script, *arguments: str | bytes | int) -> Any:
        return await self._ask(script, [_ALL, _GOING], *arguments)

    async def _ask(self, script: Script, keys: list[str], *arguments: str | bytes | int) -> Any:
        try:
            return await self._store.run(script, keys, arguments)
        except StoreError as error:
            raise StoreUnavailableError from error


def _encode(rollout: Rollout) -> bytes:
    return rollout.model_dump_json().encode()


def _entries(found: Iterable[bytes]) -> Iterator[Entry]:
    for data in found:
        try:
            yield Entry(Rollout.model_validate_json(data), data)
        except ValidationError:
            log.warning("rollout in the store is malformed")
