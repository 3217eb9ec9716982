"""The public keys of the issuer of access tokens: read in the background, and kept while it does not answer."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from prometheus_client import CollectorRegistry, Gauge

from services.runtime.errors import IssuerUnavailableError
from services.runtime.lifecycle import Lifecycle, end_task

log = logging.getLogger(__name__)

_FETCH_S: Final = 5.0
_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100
_APART_S: Final = 5.0
"""The least time between two fetches: tokens with keys that somebody made up cost the issuer no more than that."""
_WAIT_S: Final = 2.0
"""How long a token with an unknown key waits for the fetch that may bring it."""
_RSA_BITS: Final = range(2048, 8193)
"""Source of the first: RFC 7518, section 3.3. Longer ones only cost time."""
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class NoKeysError(Exception):
    """The issuer gave no keys; the text says why, in words of ours."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One of the issuer's keys."""

    kid: str | None
    algorithm: str | None
    """The only one that it is for, if it says so."""
    public: PublicKey

    def serves(self, kid: str | None, algorithm: str) -> bool:
        """Whether it may have signed a token with that header."""
        return kid in (None, self.kid) and self.algorithm in (None, algorithm) and _fits(self.public, algorithm)


class Issuer:
    """Knows the keys that its tokens are signed with."""

    def __init__(
        self,
        name: str,
        jwks_url: str | None,
        *,
        refresh_s: float,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where to ask; nothing is asked yet.

        Args:
            name: as it names itself, a URL.
            jwks_url: where its keys are; None: where its metadata says.
            refresh_s: how often they are read.
            keep_s: how long they hold without being read again.
            clock: the moment now, in seconds.
        """
        self._name = name
        self._jwks_url = jwks_url
        self._refresh_s = refresh_s
        self._apart_s = min(_APART_S, refresh_s)
        self._keep_s = keep_s
        self._clock = clock
        self._keys: Sequence[IssuerKey] = ()
        self._read_at: float | None = None
        self._asked_at = clock() - _APART_S
        self._asking: asyncio.Task[None] | None = None
        self._is_failing = False
        self.revision = 0
        """Grows whenever the keys change."""

    @property
    def is_up(self) -> bool:
        """Whether it told its keys when it was last asked."""
        return self._read_at is not None and not self._is_failing

    async def key(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the key for a token with that header; None: the issuer has none like it.

        One that is not known yet is waited for, two seconds at most, if a fetch is under way or due: an issuer may
        sign with a new key as soon as it has it.

        Raises:
            IssuerUnavailableError: no keys are known at all.
        """
        found = self._find(kid, algorithm)
        if found is None and (asking := self._ask_if_due()) is not None:
            await asyncio.wait([asking], timeout=_WAIT_S)
            found = self._find(kid, algorithm)
        if found is None and not self._holds:
            raise IssuerUnavailableError
        return found

    async def follow(self) -> None:
        """Read the keys again and again, for ever; sooner while the issuer does not answer."""
        while True:
            if (asking := self._ask_if_due()) is not None:
                await asyncio.wait([asking])
            await asyncio.sleep(self._apart_s if self._is_failing else self._refresh_s)

    async def close(self) -> None:
        """Give up what is being asked."""
        if self._asking is not None:
            await end_task(self._asking, cleanup_s=1.0)

    @property
    def _holds(self) -> bool:
        """Whether the keys that were read are still to be gone by."""
        return self._read_at is not None and self._clock() - self._read_at <= self._keep_s

    def _find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        if not self._holds:
            return None
        return next((key.public for key in self._keys if key.serves(kid, algorithm)), None)

    def _ask_if_due(self) -> asyncio.Task[None] | None:
        """Return the fetch that is under way; it begins now if the last one began long enough ago."""
        if self._asking is None and self._clock() - self._asked_at >= self._apart_s:
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._ask(), name="issuer-keys")
        return self._asking

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_S):
                keys = await fetch_keys(self._name, self._jwks_url)
        except (NoKeysError, TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            cause = str(error) if isinstance(error, NoKeysError) else type(error).__name__
            log.log(
                logging.DEBUG if self._is_failing else logging.WARNING, "issuer gives no keys", extra={"why": cause}
            )
            self._is_failing = True
        else:
            if keys != self._keys:
                log.info("keys of the issuer read", extra={"keys": len(keys)})
                self._keys = keys
                self.revision += 1
            self._read_at = self._clock()
            self._is_failing = False
        finally:
            self._asking = None


async def fetch_keys(issuer: str, jwks_url: str | None) -> Sequence[IssuerKey]:
    """Return the keys that can be used.

    Raises:
        NoKeysError: there are none, or the issuer is not who it is to be.
        httpx.HTTPError, httpx.InvalidURL: it cannot be reached, or not where it says.
    """
    async with httpx.AsyncClient(timeout=_FETCH_S, headers={"accept": "application/json"}) as http:
        url = jwks_url or await _jwks_url(http, issuer)
        document = await _get(http, url)
    if document is None:
        raise NoKeysError("there is nothing where its keys are to be")
    keys = read_keys(document)
    if not keys:
        raise NoKeysError("none of its keys can be used")
    return keys


def read_keys(document: Mapping[str, Any]) -> Sequence[IssuerKey]:
    """Return those of a JSON Web Key Set's keys with which tokens may be signed; what is unknown is passed over."""
    listed = document.get("keys")
    found: list[IssuerKey] = []
    for one in (listed if isinstance(listed, list) else [])[:_MAX_KEYS]:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        kid, algorithm = one.get("kid"), one.get("alg")
        try:
            public = jwt.PyJWK(one).key
        except (jwt.PyJWTError, TypeError, ValueError):
            continue
        if isinstance(public, PublicKey) and (not isinstance(public, RSAPublicKey) or public.key_size in _RSA_BITS):
            found.append(IssuerKey(kid if isinstance(kid, str) else None, algorithm, public))
    return found


async def _jwks_url(http: httpx.AsyncClient, issuer: str) -> str:
    """Ask the issuer where its keys are. Sources: RFC 8414, section 3; OpenID Connect Discovery, section 4."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    ]
    for place in dict.fromkeys(places):
        metadata = await _get(http, place)
        if metadata is None:
            continue
        if metadata.get("issuer") != issuer:
            raise NoKeysError("its metadata name another issuer")
        url = metadata.get("jwks_uri")
        # Over plain HTTP only where the issuer itself is asked so: on loopback.
        if not isinstance(url, str) or not url.startswith(("https://", f"{parts.scheme}://")):
            raise NoKeysError("its metadata do not say where its keys are")
        return url
    raise NoKeysError("it has no metadata")


async def _get(http: httpx.AsyncClient, url: str) -> dict[str, Any] | None:
    """Return the JSON object at a URL; None: there is none (404)."""
    body = b""
    async with http.stream("GET", url) as response:
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise NoKeysError(f"HTTP status {response.status_code}")
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MAX_BYTES:
                raise NoKeysError("its answer is too long")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoKeysError("its answer is no JSON") from error
    if not isinstance(document, dict):
        raise NoKeysError("its answer is no JSON object")
    return document


def _fits(key: PublicKey, algorithm: str) -> bool:
    """Whether an algorithm can go with a key of that type."""
    if isinstance(key, RSAPublicKey):
        return algorithm[:2] in ("RS", "PS")
    if isinstance(key, EllipticCurvePublicKey):
        return _CURVES.get(algorithm) == key.curve.name
    return algorithm == "EdDSA"


@asynccontextmanager
async def following_issuer(issuer: Issuer | None, registry: CollectorRegistry, life: Lifecycle) -> AsyncIterator[None]:
    """Read the issuer's keys from now on; nobody waits for them here. Without an issuer nobody is missed."""
    up = Gauge(
        "mcp_issuer_up",
        "0 while the issuer of access tokens does not tell its keys, else 1; 1 where none is configured.",
        registry=registry,
    )
    up.set_function(lambda: issuer is None or issuer.is_up)
    if issuer is None:
        yield
        return
    life.start(issuer.follow(), name="issuer")
    try:
        yield
    finally:
        await issuer.close()
