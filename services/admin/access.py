"""Who may steer the fleet: holders of a key with the scope `admin`, who show it or have logged in to the console."""

import hmac
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from services.admin.console.cookies import SESSION, read_cookie
from services.admin.console.origins import is_same_origin
from services.admin.console.sessions import Session, Sessions
from services.runtime.auth.authentication import authenticate
from services.runtime.auth.keys import digest
from services.runtime.auth.principals import Principal, Scope
from services.runtime.auth.ring import KeyRing
from services.runtime.errors import ForbiddenError, QueryError

CSRF_HEADER: Final = "x-csrf-token"
_SCOPES: Final[tuple[Scope, ...]] = ("admin", "query")
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Somebody at the console."""

    session: Session
    principal: Principal


class Access:
    """Knows the keys in force, and who has logged in with one."""

    def __init__(self, ring: KeyRing | None, sessions: Sessions) -> None:
        """Without a `ring` no keys file is configured, and nobody is let in."""
        self._ring = ring
        self._sessions = sessions

    async def admit(self, request: Request) -> Principal:
        """Return who asks: by the Authorization header, else by the console's cookie.

        Raises:
            UnauthorizedError: neither, or a bad one.
            ForbiddenError: the key lacks the scope; or a change is asked for by the cookie, and not by the console.
        """
        if "authorization" not in request.headers and (someone := await self.logged_in(request)) is not None:
            if request.method not in _READING and not _is_from_console(request, someone.session):
                raise ForbiddenError
            return someone.principal
        return self._admit(request.headers.get("authorization"), "admin")

    async def identify(self, request: Request) -> str | None:
        """Return the id of the key, also of one that lacks the scope; None without a valid key."""
        if "authorization" not in request.headers and (someone := await self.logged_in(request)) is not None:
            return someone.principal.id
        return self._identify(request.headers.get("authorization"))

    async def logged_in(self, request: Request) -> LoggedIn | None:
        """Return whose cookie it is, if their key is still in force and still has the scope."""
        session = await self._sessions.find(read_cookie(request, SESSION))
        principal = self._ring.find_digest(session.key_digest) if session and self._ring else None
        if session is None or principal is None or "admin" not in principal.scopes:
            return None
        return LoggedIn(session, principal)

    def identify_key(self, key: str) -> str | None:
        """Return the id of a key, also of one that lacks the scope; None if it is not valid."""
        return self._identify(f"Bearer {key}")

    async def log_in(self, key: str) -> str:
        """Return the id of a new session for the holder of `key`.

        Raises:
            UnauthorizedError: it is not valid.
            ForbiddenError: it lacks the scope.
        """
        self._admit(f"Bearer {key}", "admin")
        return await self._sessions.begin(digest(key.strip()))

    async def log_out(self, request: Request) -> None:
        """End the session of the request's cookie."""
        await self._sessions.end(read_cookie(request, SESSION))

    def _admit(self, authorization: str | None, scope: Scope) -> Principal:
        return authenticate(authorization, ring=self._ring, without_key=None, scope=scope)

    def _identify(self, authorization: str | None) -> str | None:
        for scope in _SCOPES:
            try:
                return self._admit(authorization, scope).id
            except QueryError:
                continue
        return None


def _is_from_console(request: Request, session: Session) -> bool:
    """A page of another site has neither our origin nor the token."""
    token = request.headers.get(CSRF_HEADER, "")
    return is_same_origin(request) and hmac.compare_digest(token.encode(), session.csrf_token.encode())
