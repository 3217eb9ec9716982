"""The sessions in the shared store, by the SHA-256 of their ids: neither an id nor a key can be read there."""

import json
from dataclasses import dataclass
from typing import Any, Final

from services.runtime.store import Script, Store

ENDED: Final = "ended"
"""What is kept of one whose holder has logged out: a replica that knew it is not to bring it back."""

_PREFIX: Final = "busbar:v1:console:session:"

_READ: Final = Script("return redis.call('GET', KEYS[1])")
_KEEP: Final = Script("""
-- KEYS: the session.  ARGV: what is to be kept, for how long in milliseconds.
local held = redis.call('GET', KEYS[1])
if held ~= 'ended' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return held
""")
_END: Final = Script("redis.call('SET', KEYS[1], 'ended', 'PX', ARGV[1])")


@dataclass(frozen=True, slots=True)
class KeptSession:
    """What replicas tell one another of a session; moments in seconds since 1970."""

    key_digest: bytes
    began_at: float
    used_at: float


class SessionStore:
    """Everything raises StoreError where the store does not answer or refuses."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, digest: str) -> KeptSession | str | None:
        """Return what is kept of a session, or ENDED; None: nothing."""
        return _decoded(await self._store.run(_READ, [_PREFIX + digest]))

    async def keep(self, digest: str, session: KeptSession, *, for_s: float) -> KeptSession | str | None:
        """Keep it for so many seconds, unless it has ended; return what was kept of it before, or ENDED."""
        record = {"key": session.key_digest.hex(), "began_at": session.began_at, "used_at": session.used_at}
        milliseconds = max(1, round(for_s * 1000))
        return _decoded(await self._store.run(_KEEP, [_PREFIX + digest], [json.dumps(record), milliseconds]))

    async def end(self, digest: str, *, for_s: float) -> None:
        """Let every replica know, for so many seconds, that it has ended."""
        await self._store.run(_END, [_PREFIX + digest], [round(for_s * 1000)])


def _decoded(held: Any) -> KeptSession | str | None:
    """Garbage is as nothing."""
    if held == ENDED.encode():
        return ENDED
    try:
        record = json.loads(held)
        return KeptSession(bytes.fromhex(record["key"]), float(record["began_at"]), float(record["used_at"]))
    except (ValueError, TypeError, KeyError):
        return None
