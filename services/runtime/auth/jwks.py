"""Asks an issuer of access tokens for its public keys over HTTP: its metadata, then its JSON Web Key Set.

Apart from `issuer.py`, because importing httpx takes a tenth of a service's start, and few deployments have an issuer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.runtime.auth.issuer_key import IssuerKey, NoKeysError, PublicKey

_FETCH_S: Final = 5.0
_ACCEPT: Final = {"accept": "application/json"}
_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8193)
"""Source of the first: RFC 7518, section 3.3. Longer ones only cost time."""


async def fetch_keys(issuer: str, jwks_url: str | None) -> Sequence[IssuerKey]:
    """Return the keys that can be used.

    Args:
        issuer: as it names itself, a URL.
        jwks_url: where its keys are; None: where its metadata says.

    Raises:
        NoKeysError: there are none, the issuer is not who it is to be, or cannot be reached.
    """
    try:
        async with asyncio.timeout(_FETCH_S), httpx.AsyncClient(timeout=_FETCH_S, headers=_ACCEPT) as http:
            document = await _get(http, jwks_url or await _jwks_url(http, issuer))
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoKeysError(type(error).__name__) from error
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
