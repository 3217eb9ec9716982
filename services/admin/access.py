"""Who may steer the fleet: holders of a key with the scope `admin`, nobody else."""

from services.runtime.auth.authentication import authenticate
from services.runtime.auth.principals import Principal, Scope
from services.runtime.auth.ring import KeyRing
from services.runtime.errors import QueryError

_SCOPES: tuple[Scope, ...] = ("admin", "query")


class Access:
    """Knows the keys in force."""

    def __init__(self, ring: KeyRing | None) -> None:
        self._ring = ring

    def admit(self, authorization: str | None) -> Principal:
        """Return who asks, by the Authorization header.

        Raises:
            UnauthorizedError: no key, or a bad one.
            ForbiddenError: the key lacks the scope.
        """
        return authenticate(authorization, ring=self._ring, without_key=None, scope="admin")

    def identify(self, authorization: str | None) -> str | None:
        """Return the id of the key, also of one that lacks the scope; None without a valid key."""
        for scope in _SCOPES:
            try:
                return authenticate(authorization, ring=self._ring, without_key=None, scope=scope).id
            except QueryError:
                continue
        return None
