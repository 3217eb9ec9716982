"""What is to outlast every process: of each name the newest word, in the part of the store that is never evicted.

A hash for each kind of word, with a field for each name. None has a lifetime: a full store that drops only what has
one keeps these.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.runtime.store.client import Script, Store

_PREFIX: Final = "busbar:v1:retained:"

# A value is its rank, a line end, and the word. As texts they sort as their ranks do: the epoch has a fixed length, and
# a line end sorts before all that may be in a name. Garbage has no rank, and holds nothing up.
_KEEP: Final = Script(
    """#!lua flags=allow-oom
-- KEYS: the hash.  ARGV: names and values by turns.
for place = 1, #ARGV, 2 do
  local name, value = ARGV[place], ARGV[place + 1]
  local held = redis.call('HGET', KEYS[1], name)
  if not held or not string.match(held, '^%d+ ') or held < value then
    redis.call('HSET', KEYS[1], name, value)
  end
end
"""
)

_KEPT: Final = Script("return redis.call('HVALS', KEYS[1])")


@dataclass(frozen=True, slots=True)
class RetainedWord:
    """A word, and what it is newer than."""

    name: str
    """What it is on; the newest word on it replaces the others."""
    epoch: int
    by: str
    """Of two words with the same epoch, that whose `by` sorts last is the newer one."""
    word: bytes


async def keep(store: Store, kind: str, words: Iterable[RetainedWord]) -> None:
    """Keep those of the words that are newer than what is kept.

    Raises:
        StoreAwayError, StoreRefusedError: as `Store.run`; after a StoreAwayError they may have been kept.
    """
    pairs = [(word.name, b"%020d %b\n%b" % (word.epoch, word.by.encode(), word.word)) for word in words]
    if pairs:
        await store.run(_KEEP, [_PREFIX + kind], [part for pair in pairs for part in pair])


async def kept(store: Store, kind: str) -> list[bytes]:
    """Return the words that are kept; what is not one of ours may be among them.

    Raises:
        StoreAwayError, StoreRefusedError: as `Store.run`.
    """
    values: list[bytes] = await store.run(_KEPT, [_PREFIX + kind])
    return [value.partition(b"\n")[2] for value in values]
