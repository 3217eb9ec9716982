"""Who a request comes from, and when one without a key may come in."""

from pathlib import Path
from typing import Any

import pytest

from services.runtime.auth.authentication import anonymous_caller, authenticate
from services.runtime.auth.keys import add_key
from services.runtime.auth.principals import ANONYMOUS, BUS, Principal, Scope
from services.runtime.auth.ring import KeyRing
from services.runtime.errors import ForbiddenError, UnauthorizedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "  BEARER   "])
def test_a_good_key_gives_its_principal(path: Path, scheme: str) -> None:
    text = add_key(path, "a")
    assert authenticate(scheme + text, ring=KeyRing(path), without_key=None, scope="query").id == "a"


@pytest.mark.parametrize("without_key", [None, ANONYMOUS, BUS])
@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic {key}", "{key}", "Bearer{key}"]
)
def test_a_bad_header_is_unauthorised_even_where_none_is_needed(
    path: Path, authorization: str, without_key: Principal | None
) -> None:
    header = authorization.format(key=add_key(path, "a"))
    with pytest.raises(UnauthorizedError):
        authenticate(header, ring=KeyRing(path), without_key=without_key, scope="query")


def test_without_a_keys_file_every_key_is_a_bad_one() -> None:
    with pytest.raises(UnauthorizedError):
        authenticate("Bearer x", ring=None, without_key=ANONYMOUS, scope="query")


@pytest.mark.parametrize(("has", "needs"), [("query", "admin"), ("admin", "query")])
def test_a_key_without_the_scope_is_forbidden(path: Path, has: Scope, needs: Scope) -> None:
    text = add_key(path, "a", scopes=[has])
    with pytest.raises(ForbiddenError):
        authenticate(f"Bearer {text}", ring=KeyRing(path), without_key=None, scope=needs)


def test_without_a_header_a_request_comes_from_whom_the_edge_says() -> None:
    assert authenticate(None, ring=None, without_key=BUS, scope="query") is BUS
    with pytest.raises(UnauthorizedError):
        authenticate(None, ring=None, without_key=None, scope="query")


@pytest.mark.parametrize("caller", [ANONYMOUS, BUS])
def test_nobody_administers_without_a_key(caller: Principal) -> None:
    with pytest.raises(UnauthorizedError):
        authenticate(None, ring=None, without_key=caller, scope="admin")


ALLOWED: dict[str, Any] = {
    "listening": ["127.0.0.1"],
    "header_names": ["host", "accept"],
    "knows_callers": False,
    "setting": None,
}


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({}, True),
        ({"listening": ["127.0.0.1", "::1", "localhost", "127.8.8.8", "[::1]", "::ffff:127.0.0.1"]}, True),
        ({"listening": []}, False),
        ({"listening": [""]}, False),
        ({"listening": ["0.0.0.0"]}, False),
        ({"listening": ["::"]}, False),
        ({"listening": ["127.0.0.1", "10.0.0.1"]}, False),
        ({"listening": ["::ffff:10.0.0.1"]}, False),
        ({"listening": ["localhost.example.org"]}, False),
        ({"header_names": ["Forwarded"]}, False),
        ({"header_names": ["host", "X-Forwarded-For"]}, False),
        ({"header_names": ["x-forwarded-proto"]}, False),
        ({"header_names": ["X-Real-IP"]}, False),
        ({"header_names": ["Via"]}, False),
        ({"knows_callers": True}, False),
        ({"knows_callers": True, "setting": "loopback"}, True),
        ({"knows_callers": True, "setting": "loopback", "listening": ["0.0.0.0"]}, False),
        ({"setting": "loopback", "listening": ["0.0.0.0"]}, False),
        ({"setting": "loopback", "header_names": ["via"]}, False),
    ],
)
def test_a_caller_is_anonymous_only_where_nobody_outside_can_be(change: dict[str, Any], allowed: bool) -> None:
    assert anonymous_caller(**{**ALLOWED, **change}) is (ANONYMOUS if allowed else None)
