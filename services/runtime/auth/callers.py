"""Whom queries come from, over HTTP and on the bus: by a key, by an access token, or by neither."""

from collections.abc import Iterable

from services.runtime.auth.authentication import (
    AnonymousSetting,
    anonymous_caller,
    authenticate,
    bearer_text,
    was_forwarded,
)
from services.runtime.auth.principals import BUS, Principal
from services.runtime.auth.ring import KeyRing
from services.runtime.auth.tokens import AccessTokens, looks_like_token
from services.runtime.errors import ForbiddenError, UnauthorizedError


class Callers:
    """Knows callers by what they show."""

    def __init__(
        self,
        ring: KeyRing | None,
        tokens: AccessTokens | None,
        *,
        listening: Iterable[str],
        anonymous: AnonymousSetting | None,
    ) -> None:
        """Take by what callers are known.

        Args:
            ring: the keys in force; None: every key is a bad one.
            tokens: checks tokens; None: every token is a bad one.
            listening: the addresses of the process's listeners.
            anonymous: whether somebody on this machine may come in with neither, although others cannot.
        """
        self._ring = ring
        self._tokens = tokens
        knows_callers = ring is not None or tokens is not None
        self._with_neither = anonymous_caller(listening, (), knows_callers=knows_callers, setting=anonymous)
        """Whom a request comes from that shows neither, and that no proxy has passed on."""

    async def over_http(self, authorization: str | None, header_names: Iterable[str]) -> Principal:
        """Return who asks over HTTP.

        Args:
            authorization: the header's value; None if the request has none.
            header_names: of the request.

        Raises:
            UnauthorizedError: neither key nor token where one is needed, or a bad one.
            ForbiddenError: it has no right to query.
            IssuerUnavailableError: a token cannot be checked.
        """
        return await self._identify(authorization, None if was_forwarded(header_names) else self._with_neither)

    async def on_bus(self, authorization: str | None) -> Principal:
        """Return who asks on the bus. Raises as `over_http`."""
        return await self._identify(authorization, BUS)

    async def _identify(self, authorization: str | None, without_key: Principal | None) -> Principal:
        """A key is looked up first: whoever has one does not depend on the issuer of tokens."""
        try:
            return authenticate(authorization, ring=self._ring, without_key=without_key, scope="query")
        except UnauthorizedError:
            token = bearer_text(authorization or "")
            if self._tokens is None or not looks_like_token(token):
                raise
        principal = await self._tokens.principal(token)
        if "query" not in principal.scopes:
            raise ForbiddenError
        return principal
