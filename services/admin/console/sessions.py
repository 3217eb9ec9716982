"""Who is logged in to the console: random ids, known in this process and, by their digests, in the shared store."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from services.admin.console.session_store import ENDED, KeptSession, SessionStore
from services.runtime.store import StoreError

LASTS_S: Final = 8 * 3600.0
"""After so long somebody has to log in again, whatever they do."""
IDLE_S: Final = 30 * 60.0
"""After so long without a request, or an open page that is kept fresh, too."""
_ID_BYTES: Final = 32
_ID_CHARACTERS: Final = 43
_CONFIRM_EVERY_S: Final = 2.0
"""So long a log-out at another replica may stay unknown here."""


@dataclass(slots=True)
class Session:
    """One log-in. The key itself is not kept: its digest finds it among those in force, or does not any more."""

    digest: str
    """SHA-256 of the id, in hex."""
    csrf_token: str
    key_digest: bytes
    began_at: float
    used_at: float
    """Both in seconds since 1970."""
    confirmed_at: float = 0.0
    """When the store was last asked about it."""


class Sessions:
    """Begins, finds and ends them. While the store is away, those that are known here go on."""

    def __init__(self, store: SessionStore, clock: Callable[[], float] = time.time) -> None:
        """`clock` is in seconds since 1970."""
        self._store = store
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._ended: dict[str, float] = {}
        """Until when what ended here is remembered: the store may not have been told."""

    async def begin(self, key_digest: bytes) -> str:
        """Return the id of a new session for the key of that SHA-256."""
        now = self._clock()
        self._forget_old(now)
        session_id = secrets.token_urlsafe(_ID_BYTES)
        session = Session(_digest(session_id), _csrf_token(session_id), key_digest, began_at=now, used_at=now)
        self._sessions[session.digest] = session
        await self._confirm(session.digest, session.csrf_token, now)
        return session_id

    async def find(self, session_id: str) -> Session | None:
        """Return the session of that id, which is in use now; None: there is none, or it is over."""
        if len(session_id) != _ID_CHARACTERS:
            return None
        now, digest = self._clock(), _digest(session_id)
        if digest in self._ended:
            return None
        known = self._sessions.get(digest)
        if known is None or not _is_alive(known, now) or now - known.confirmed_at >= _CONFIRM_EVERY_S:
            known = await self._confirm(digest, _csrf_token(session_id), now)
        if known is None or not _is_alive(known, now):
            return None
        known.used_at = now
        return known

    async def end(self, session_id: str) -> None:
        """Log out, at every replica; one that cannot be told now is told when the store is back."""
        digest = _digest(session_id)
        self._sessions.pop(digest, None)
        self._ended[digest] = self._clock() + LASTS_S
        with suppress(StoreError):
            await self._store.end(digest, for_s=LASTS_S)

    async def follow_store(self, is_back: asyncio.Event) -> None:
        """Tell the store, for ever, what has ended here, whenever `is_back` says that it may not know."""
        while True:
            await is_back.wait()
            is_back.clear()
            self._forget_old(self._clock())
            with suppress(StoreError):
                for digest in list(self._ended):
                    await self._store.end(digest, for_s=LASTS_S)

    async def _confirm(self, digest: str, csrf_token: str, now: float) -> Session | None:
        """Compare with the store; return the session as it is known then."""
        session = self._sessions.get(digest)
        alive = session if session is not None and _is_alive(session, now) else None
        try:
            kept = await self._exchange(digest, alive, now)
        except StoreError:
            return session
        if kept == ENDED:
            self._sessions.pop(digest, None)
            return None
        if isinstance(kept, KeptSession) and alive is None:  # of another replica, or in use there
            session = Session(digest, csrf_token, kept.key_digest, kept.began_at, kept.used_at)
            self._sessions[digest] = session
        if session is not None:
            session.confirmed_at = now
        return session

    async def _exchange(self, digest: str, alive: Session | None, now: float) -> KeptSession | str | None:
        if alive is None:
            return await self._store.read(digest)
        left_s = min(IDLE_S, alive.began_at + LASTS_S - now)
        return await self._store.keep(digest, KeptSession(alive.key_digest, alive.began_at, now), for_s=left_s)

    def _forget_old(self, now: float) -> None:
        self._sessions = {digest: one for digest, one in self._sessions.items() if _is_alive(one, now)}
        self._ended = {digest: until for digest, until in self._ended.items() if now < until}


def _is_alive(session: Session, now: float) -> bool:
    return now < session.began_at + LASTS_S and now < session.used_at + IDLE_S


def _digest(session_id: str) -> str:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def _csrf_token(session_id: str) -> str:
    """Made from the id, so that every replica knows it and nobody has to keep it."""
    return hmac.new(session_id.encode("utf-8", "surrogatepass"), b"busbar console: csrf", hashlib.sha256).hexdigest()
