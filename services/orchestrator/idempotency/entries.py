"""The entries of the idempotency ledger in the shared store: each step is one script.

An entry is a hash without a lifetime of its own, for a store that is told to drop what has one may do so at any time;
a sorted set says when each may go. It begins with a claim (`owner`, `digest`, `known_by`) and ends as one of

told      `about` and `part:1` … are there: what the owner's caller was told
unknown   `known_by` has passed, or is not there: the owner died, or cannot say what became of its call
released  `owner` is not there: certainly nothing ran; the next one may claim it, with any body
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from services.orchestrator.idempotency.keys import KeyedQuery
from services.runtime.store import Script, Store, StoreRefusedError

_EXPIRIES: Final = "busbar:v1:idempotency"
"""Holds the ids of all entries by when they may go, in milliseconds since 1970 by the store's clock."""
_KEPT_MS: Final = 24 * 3600 * 1000
_RELEASED_MS: Final = 10 * 60 * 1000
"""Longer than anybody waits: who has seen a claim and then finds nothing knows that the store has lost it."""
_PART_BYTES: Final = 1024 * 1024
"""Of an outcome that goes to the store, or comes from it, in one step: each has to be done within 0.1 s."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_CLAIM = Script(
    _NOW
    + """
-- KEYS: the entry, the expiries.  ARGV: its id, who claims it, the digest of the query, for how long the outcome may
-- stay unknown and how long the entry is kept, in milliseconds, whether a claim has been seen ('1' or '0').
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 20)) do
  redis.call('UNLINK', KEYS[2] .. ':' .. id)
  redis.call('ZREM', KEYS[2], id)
end
local found = redis.call('HMGET', KEYS[1], 'owner', 'digest', 'known_by', 'about')
local owner, digest, known_by, about = found[1], found[2], found[3], found[4]
if not owner then
  if ARGV[6] == '1' and not digest then
    return {'unknown', ''}
  end
  -- No DEL before this: after any write a script may also write to a full store.
  redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'digest', ARGV[3], 'known_by', now + ARGV[4])
  redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[1])
  return {'ours'}
elseif digest ~= ARGV[3] then
  return {'other_body'}
elseif about then
  return {'told', about, redis.call('HGET', KEYS[1], 'part:1')}
elseif not known_by or tonumber(known_by) <= now then
  return {'unknown', owner}
elseif owner == ARGV[2] then
  return {'ours'}
end
return {'running'}
"""
)

_STILL_OURS = (
    _NOW
    + """
-- KEYS: the entry, the expiries.  ARGV: its id, who claimed it.
local found = redis.call('HMGET', KEYS[1], 'owner', 'about', 'known_by', 'digest')
if found[1] ~= ARGV[2] or found[2] or not found[3] or tonumber(found[3]) <= now then
  return 0
end
"""
)

_TELL = Script(
    _STILL_OURS
    + """
-- ARGV also: a part's number and its bytes; about the outcome ('' unless it is the last part).
redis.call('HSET', KEYS[1], 'part:' .. ARGV[3], ARGV[4])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'about', ARGV[5])
end
return 1
"""
)

# What makes room goes first: a full store then lets the script write as well.
_END_AS_UNKNOWN = Script(
    _STILL_OURS
    + """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', found[1], 'digest', found[4])
return 1
"""
)

_RELEASE = Script(
    _STILL_OURS
    + """
-- ARGV also: how long what is left of the entry is kept, in milliseconds.
redis.call('HDEL', KEYS[1], 'owner')
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
return 1
"""
)

_PART = Script("""
-- KEYS: the entry.  ARGV: the part's number.
return redis.call('HGET', KEYS[1], 'part:' .. ARGV[1])
""")


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller was told, and what metrics and rights need to know of it."""

    status: int
    content_type: str
    body: bytes
    server: str | None
    """That answered or failed."""
    error_type: str | None
    """As in `mcp_query_errors_total`; None: it is no error."""


class Standing(StrEnum):
    """What a claim found where there is no outcome."""

    OURS = "ours"
    RUNNING = "running"
    OTHER_BODY = "other_body"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows what became of the call."""

    owner: str | None
    """The id of the query that ran it; None: the store has lost it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who claims the use of a key."""

    keyed: KeyedQuery
    owner: str
    """The query's id."""


class _About(msgspec.Struct, array_like=True):
    status: int
    content_type: str
    server: str | None
    error_type: str | None
    parts: int


class IdempotencyEntries:
    """The ledger's part of the shared store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, claim: Claim, known_within_s: float, *, has_seen_claim: bool) -> Told | Standing | Unknown:
        """Claim an entry unless it is somebody's; return how it stands. A claim of one's own may be repeated.

        Args:
            claim: of what, by whom.
            known_within_s: after this time without an outcome, the outcome is unknown.
            has_seen_claim: whether an entry has been there before; one that is gone is not claimed again.

        Raises:
            StoreAwayError: it may have been claimed.
            StoreRefusedError: it is not claimed.
        """
        digest, seen = claim.keyed.digest, int(has_seen_claim)
        reply = await self._run(_CLAIM, claim, claim.owner, digest, int(known_within_s * 1000), _KEPT_MS, seen)
        match reply:
            case [b"told", about, first]:
                return await self._told(claim, about, first)
            case [b"unknown", owner]:
                return Unknown(owner.decode() or None)
            case [standing]:
                return Standing(standing.decode())
        raise StoreRefusedError

    async def tell(self, claim: Claim, told: Told) -> bool:
        """Keep what the owner's caller is told; False: it is too late, or not the owner any more. Raises StoreError."""
        parts = [told.body[at : at + _PART_BYTES] for at in range(0, len(told.body), _PART_BYTES)] or [b""]
        about = msgspec.json.encode(_About(told.status, told.content_type, told.server, told.error_type, len(parts)))
        for number, part in enumerate(parts, 1):
            is_last = number == len(parts)
            if not await self._run(_TELL, claim, claim.owner, number, part, about if is_last else b""):
                return False
        return True

    async def end_as_unknown(self, claim: Claim) -> None:
        """Say that the owner does not know the outcome, and never will. Raises StoreError."""
        await self._run(_END_AS_UNKNOWN, claim, claim.owner)

    async def release(self, claim: Claim) -> None:
        """Say that nothing ran. Raises StoreError."""
        await self._run(_RELEASE, claim, claim.owner, _RELEASED_MS)

    async def _told(self, claim: Claim, encoded: bytes, first: bytes | None) -> Told:
        try:
            about = msgspec.json.decode(encoded, type=_About)
        except msgspec.DecodeError as error:
            raise StoreRefusedError from error
        others = [await self._store.run(_PART, [_entry(claim)], [number]) for number in range(2, about.parts + 1)]
        parts = [part for part in (first, *others) if part is not None]
        if len(parts) != about.parts:
            raise StoreRefusedError
        return Told(about.status, about.content_type, b"".join(parts), about.server, about.error_type)

    async def _run(self, script: Script, claim: Claim, *arguments: str | bytes | int) -> Any:
        return await self._store.run(script, [_entry(claim), _EXPIRIES], [claim.keyed.caller_key, *arguments])


def _entry(claim: Claim) -> str:
    return f"{_EXPIRIES}:{claim.keyed.caller_key}"
