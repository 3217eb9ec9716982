"""Access tokens: JSON Web Tokens of a trusted issuer → whom they are of, and what their scopes let them use.

Sources: RFC 9068 (profile of access tokens), RFC 8725 (best practices), RFC 8707 (audience).
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import jwt

from services.runtime.auth.issuer import Issuer
from services.runtime.auth.principals import Grant, Principal, Scope
from services.runtime.errors import UnauthorizedError

_MAX_CHARACTERS: Final = 16 * 1024
_MAX_SUBJECT: Final = 255
"""As OpenID Connect has it."""
_MAX_GRANTS: Final = 64
"""Scopes of a token that are looked at; each is a pattern that every line of a list is held against."""
_KNOWN_S: Final = 60.0
"""How long a token that was checked is believed without being checked again, if it does not expire before."""
_MOST_KNOWN: Final = 4096
_KINDS: Final = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
"""What the header `typ` may be; what is meant for something else, such as a logout, says so."""
_LOOKS_LIKE_TOKEN: Final = re.compile(r"e[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\Z")
_OF_SERVER: Final = re.compile(r"/servers/([A-Za-z0-9_-]{1,64})/mcp\Z")
_ID_PREFIX: Final = "oauth:"
"""No key's id can begin so: nobody shares a cache, a session or a limit with a key."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What makes a token a good one, and what it gives a right to."""

    issuer: str
    resource: str
    """Under which URL we are reached; without a slash at its end."""
    audiences: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset({"RS256", "ES256"})
    scope_claims: tuple[str, ...] = ("scope", "scp")
    scope_prefix: str = "busbar:"
    leeway_s: float = 30.0
    rate_per_s: float | None = None
    max_in_flight: int | None = None

    @property
    def query_scope(self) -> str:
        """The scope that gives a right to everything."""
        return f"{self.scope_prefix}query"


def looks_like_token(text: str) -> bool:
    """Return whether `text` has the form of a JSON Web Token, which no key of ours has: it begins with a brace."""
    return _LOOKS_LIKE_TOKEN.match(text) is not None


class _Known(NamedTuple):
    principal: Principal
    good_until: float
    """By the wall clock."""
    revision: int
    """Of the issuer's keys when it was checked."""


class AccessTokens:
    """Checks tokens; one that was checked is known for a while, since callers send the same again and again."""

    def __init__(self, rules: TokenRules, issuer: Issuer, *, wall: Callable[[], float] = time.time) -> None:
        """`wall` is in seconds since 1970."""
        self._rules = rules
        self._issuer = issuer
        self._wall = wall
        self._known: dict[bytes, _Known] = {}

    async def principal(self, token: str) -> Principal:
        """Return whom a token is of.

        Raises:
            UnauthorizedError: it is not a good one; why is nobody's business.
            IssuerUnavailableError: no key of the issuer is known yet, or not any more.
        """
        if len(token) > _MAX_CHARACTERS:
            raise UnauthorizedError
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None or known.revision != self._issuer.revision or self._wall() >= known.good_until:
            known = await self._check(token)
            self._known.pop(digest, None)
            self._known[digest] = known
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return known.principal

    async def _check(self, token: str) -> _Known:
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "")
            if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
                raise UnauthorizedError
            if not isinstance(kind, str) or kind.lower() not in _KINDS:
                raise UnauthorizedError
            key = await self._issuer.key(kid, algorithm)
            revision = self._issuer.revision
            if key is None:
                raise UnauthorizedError
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],  # one of ours, and the key is one that goes with it
                issuer=self._rules.issuer,
                leeway=self._rules.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"], "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise UnauthorizedError from error
        good_until = min(float(claims["exp"]) + self._rules.leeway_s, self._wall() + _KNOWN_S)
        return _Known(principal_of(claims, self._rules), good_until, revision)


def principal_of(claims: dict[str, Any], rules: TokenRules) -> Principal:
    """Return whom the claims of a token are of that is signed by the issuer and has not expired (pure).

    Raises:
        UnauthorizedError: it is for somebody else, or its subject cannot be told.
    """
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
        raise UnauthorizedError
    grants = _narrowed(_grants(claims, rules), claims["aud"], rules)
    scopes: frozenset[Scope] = frozenset({"query"}) if grants else frozenset()
    return Principal(
        id=_ID_PREFIX + quote(subject, safe="@+|="),
        scopes=scopes,
        servers=(),
        tools=(),
        rate_per_s=rules.rate_per_s,
        max_in_flight=rules.max_in_flight,
        beside=tuple(grants),
    )


def _grants(claims: dict[str, Any], rules: TokenRules) -> list[Grant]:
    """Read `query`, `query:<servers>` and `query:<servers>:<tools>`. Each only adds: a user may strike out any."""
    grants: dict[Grant, None] = {}
    for scope in _scopes(claims, rules.scope_claims):
        word, *patterns = scope.removeprefix(rules.scope_prefix).split(":", 2)
        # An empty pattern, as of a template without a value, gives nothing.
        if scope.startswith(rules.scope_prefix) and word == "query" and all(patterns):
            servers, tools = (*patterns, "*", "*")[:2]
            grants[Grant((servers,), (tools,))] = None
        if len(grants) == _MAX_GRANTS:
            break
    return list(grants)


def _scopes(claims: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in names:
        value = claims.get(name)
        words = value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else []
        found += [word for word in words if isinstance(word, str)]
    return found


def _narrowed(grants: list[Grant], audience: Any, rules: TokenRules) -> list[Grant]:
    """Return the rights as far as the token is for us: one for the address of a server is for that server alone."""
    audiences = {one for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str)}
    ours = {rules.resource, f"{rules.resource}/", f"{rules.resource}/mcp", *rules.audiences}
    if audiences & ours:
        return grants
    paths = [one.removeprefix(rules.resource) for one in audiences if one.startswith(rules.resource)]
    found = map(_OF_SERVER.fullmatch, paths)
    servers = sorted({one[1] for one in found if one is not None})
    if not servers:
        raise UnauthorizedError
    return [Grant((server,), grant.tools) for server in servers for grant in grants if grant.covers_server(server)]
