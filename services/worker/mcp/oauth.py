"""OAuth client credentials (RFC 6749 §4.4): a worker gets its own access token, keeps it, and renews it in time."""

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import quote_plus

import aiohttp

from services.runtime.config.connections import OAuth
from services.runtime.errors import NoWorkerError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 3.0
FETCH_TIMEOUT_S: Final = 10.0
FETCH_APART_S: Final = 1.0
"""The least time between two fetches, so that what refuses us, or our tokens, is not flooded."""

_RENEW_BEFORE_S: Final = 30.0
_MAX_ANSWER_BYTES: Final = 2**16
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}\Z")
_REFUSALS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
"""The words of RFC 6749 §5.2. No other word of the token endpoint reaches the log."""


class TokenError(Exception):
    """The token endpoint gave no token; the text says why, in words of ours."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, and until when it is good; moments by the clock of its source, in seconds."""

    text: str = field(repr=False)
    renew_at: float
    expires_at: float

    @classmethod
    def read(cls, answer: Any, now: float) -> Self:
        """Return the token in the token endpoint's JSON.

        Raises:
            TokenError: there is none in it that can be used.
        """
        if not isinstance(answer, dict):
            raise TokenError("no JSON object")
        text, kind = answer.get("access_token"), answer.get("token_type", "bearer")
        if not isinstance(text, str) or not _TOKEN.match(text):
            raise TokenError("no access_token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise TokenError("not a bearer token")
        lifetime_s = _lifetime_s(answer.get("expires_in"))
        renew_before_s = min(_RENEW_BEFORE_S, lifetime_s / 4)
        return cls(text, renew_at=now + lifetime_s - renew_before_s, expires_at=now + lifetime_s)


def _lifetime_s(expires_in: Any) -> float:
    """Return how long a token lives; of one that does not say so, its first refusal tells."""
    if expires_in is None:
        return math.inf
    try:
        # Some endpoints send the number as text.
        lifetime_s = math.nan if isinstance(expires_in, bool) else float(expires_in)
    except (TypeError, ValueError, OverflowError):
        lifetime_s = math.nan
    if not lifetime_s > 0:
        raise TokenError("expires_in is no time")
    return lifetime_s


class TokenSource:
    """The access token of one server; safe for many concurrent callers, and shared by all sessions with it."""

    def __init__(
        self,
        oauth: OAuth,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take where tokens come from; nothing is fetched before one is needed.

        Args:
            oauth: from the configuration.
            clock: the moment now, in seconds.
            sleep: waits so many seconds between fetches.
        """
        self._oauth = oauth
        self._clock = clock
        self._sleep = sleep
        self._token: AccessToken | None = None
        self._failure: Exception | None = None
        self._fetched_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self._secret_in_body = False

    async def token(self) -> str:
        """Return a token that has not expired.

        Shortly before it does the next one is fetched, while callers go on with the one they have; if there is none,
        all callers wait for the same fetch. A caller that goes away leaves the fetch to the others.

        Raises:
            NoWorkerError: there is none to be had.
        """
        now, token = self._clock(), self._token
        if token is None or now >= token.renew_at:
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._renew(), name="oauth-token")
            if token is None or now >= token.expires_at:
                await asyncio.shield(self._fetching)
        if self._token is None:
            raise NoWorkerError from self._failure
        return self._token.text

    def drop(self, token: str) -> None:
        """Forget `token`, which the server has refused, unless another has taken its place."""
        if self._token is not None and self._token.text == token:
            self._token = None

    async def _renew(self) -> None:
        """Fetch the next token, and note why there is none; ends within `FETCH_APART_S + FETCH_TIMEOUT_S`."""
        try:
            await self._sleep(max(0.0, self._fetched_at + FETCH_APART_S - self._clock()))
            self._token = await self._fetch()
            self._failure = None
        except (TokenError, TimeoutError, aiohttp.ClientError) as error:
            cause = str(error) if isinstance(error, TokenError) else type(error).__name__
            level = logging.WARNING if self._failure is None else logging.DEBUG
            log.log(level, "no access token for the server", extra={"cause": cause})
            self._failure = error
            if self._token is not None and self._clock() >= self._token.expires_at:
                self._token = None
        finally:
            self._fetched_at = self._clock()
            self._fetching = None

    async def _fetch(self) -> AccessToken:
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as client:
            asked_at = self._clock()
            status, answer = await self._ask(client)
            if status == 401 or _refusal(answer) == "invalid_client":
                # Not every endpoint takes HTTP Basic (RFC 6749 §2.3.1); the one that takes the other way is remembered.
                self._secret_in_body = not self._secret_in_body
                status, answer = await self._ask(client)
        if status != 200:
            raise TokenError(_refusal(answer) or f"HTTP status {status}")
        return AccessToken.read(answer, asked_at)

    async def _ask(self, client: aiohttp.ClientSession) -> tuple[int, Any]:
        """Ask once; return the status and the JSON value, None if it is none."""
        oauth = self._oauth
        form, headers = {"grant_type": "client_credentials"}, {"accept": "application/json", "user-agent": "busbar"}
        if oauth.scope is not None:
            form["scope"] = oauth.scope
        if self._secret_in_body:
            form |= {"client_id": oauth.client_id, "client_secret": oauth.client_secret}
        else:
            user, password = quote_plus(oauth.client_id), quote_plus(oauth.client_secret)
            headers["authorization"] = aiohttp.encode_basic_auth(user, password)
        async with client.post(oauth.token_url, data=form, headers=headers, allow_redirects=False) as response:
            body = b""
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_ANSWER_BYTES:
                    raise TokenError("the answer is too long")
            return response.status, _json(body)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _refusal(answer: Any) -> str | None:
    said = answer.get("error") if isinstance(answer, dict) else None
    return said if isinstance(said, str) and said in _REFUSALS else None
