"""Who a request comes from, by its authorization header and, without one, by where it was received."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Literal

from services.runtime.auth.principals import ANONYMOUS, Principal, Scope
from services.runtime.auth.ring import KeyRing
from services.runtime.errors import ForbiddenError, UnauthorizedError

AnonymousSetting = Literal["loopback"]  # of BUSBAR_ANONYMOUS

_FORWARDING_HEADERS = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-original-forwarded-for",
        "x-original-host",
        "x-real-ip",
    }
)


def authenticate(
    authorization: str | None,
    *,
    ring: KeyRing | None,
    without_key: Principal | None,
    scope: Scope,
) -> Principal:
    """Return whom a request comes from.

    Args:
        authorization: the header's value, `Bearer <key>`; None if the request has none.
        ring: the keys in force; None if no keys file is configured, so that every key is a bad one.
        without_key: whom a request without the header comes from: `anonymous_caller(…)`, `BUS`, or None for nobody.
        scope: what the request needs.

    Raises:
        UnauthorizedError: no key where one is needed, or a bad, revoked or expired one.
        ForbiddenError: the key lacks the scope.
    """
    if authorization is None:
        if without_key is None or scope not in without_key.scopes:
            raise UnauthorizedError
        return without_key
    text = bearer_text(authorization)
    principal = ring.find(text) if ring is not None and text else None
    if principal is None:
        raise UnauthorizedError
    if scope not in principal.scopes:
        raise ForbiddenError
    return principal


def bearer_text(authorization: str) -> str:
    """Return the key, or the token, in an authorization header; "" where there is none."""
    scheme, _, text = authorization.strip().partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def anonymous_caller(
    listening: Iterable[str],
    header_names: Iterable[str],
    *,
    knows_callers: bool,
    setting: AnonymousSetting | None,
) -> Principal | None:
    """Return `ANONYMOUS` if a request without a key may come in, else None.

    It may only if nobody outside this machine can have sent it: every address that the process listens
    on is loopback and no proxy on this machine has passed it on; and if no keys were made, or the operator
    wants it beside them.

    Args:
        listening: the addresses (no ports) of all the process's listeners; none at all is not loopback.
        header_names: of the request, in any case.
        knows_callers: whether `BUSBAR_KEYS_FILE` or `BUSBAR_OAUTH_ISSUER` is set; whether the file is there, or the
            issuer can be reached, does not matter.
        setting: of `BUSBAR_ANONYMOUS`.
    """
    if knows_callers and setting != "loopback":
        return None
    if not is_loopback_only(listening) or was_forwarded(header_names):
        return None
    return ANONYMOUS


def is_loopback_only(listening: Iterable[str]) -> bool:
    """Return whether there are addresses, and each is `localhost` or a loopback IP address."""
    addresses = list(listening)
    return bool(addresses) and all(map(_is_loopback, addresses))


def was_forwarded(header_names: Iterable[str]) -> bool:
    """Return whether one of the headers is of those that proxies add."""
    for name in header_names:
        lowered = name.lower()
        if lowered in _FORWARDING_HEADERS or lowered.startswith("x-forwarded"):
            return True
    return False


@lru_cache
def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
