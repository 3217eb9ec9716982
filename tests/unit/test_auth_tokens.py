"""Which access tokens are good ones, whom they are of, and what their scopes let them use."""

import base64
import json
import time
from dataclasses import replace
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.auth.issuer import Issuer
from services.runtime.auth.issuer_key import IssuerKey
from services.runtime.auth.tokens import AccessTokens, TokenRules, looks_like_token, principal_of
from services.runtime.errors import UnauthorizedError
from tests.support.clock import Clock
from tests.support.issuer import RESOURCE, SigningKey

pytestmark = pytest.mark.anyio

ISSUER = "https://issuer.example"
RULES = TokenRules(ISSUER, RESOURCE, algorithms=frozenset({"RS256", "ES256"}))
EC, RSA = SigningKey("ec"), SigningKey("rsa", "RS256")


class KnownKeys:
    """An issuer whose keys are here."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = [IssuerKey(key.kid, None, cast("Any", key.private.public_key())) for key in keys]
        self.revision = 1
        self.asked = 0

    async def key(self, kid: str | None, algorithm: str) -> Any:
        self.asked += 1
        return next((key.public for key in self.keys if key.serves(kid, algorithm)), None)


def tokens(issuer: KnownKeys | None = None, rules: TokenRules = RULES, *, clock: Clock | None = None) -> AccessTokens:
    return AccessTokens(rules, cast("Issuer", issuer or KnownKeys(EC, RSA)), wall=clock or time.time)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": ISSUER, "sub": "u", "aud": RESOURCE, "iat": now, "exp": now + 600, "scope": "busbar:query"}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


@pytest.mark.parametrize("key", [EC, RSA])
@pytest.mark.parametrize("kind", ["at+jwt", "JWT", "application/at+jwt", None])
async def test_a_good_token_is_of_its_subject(key: SigningKey, kind: str | None) -> None:
    principal = await tokens().principal(key.sign(claims(sub="me@example.org"), typ=kind))
    assert principal.id == "oauth:me@example.org"
    assert principal.scopes == {"query"}
    assert principal.may_use("any", "thing")


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"iss": f"{ISSUER}/"},
        {"iss": None},
        {"aud": "https://other.example"},
        {"aud": f"{RESOURCE}.evil.example/mcp"},
        {"aud": f"{RESOURCE}/servers/a/mcp/more"},
        {"aud": f"{RESOURCE}/servers/a"},
        {"aud": None},
        {"aud": []},
        {"aud": 7},
        {"exp": None},
        {"exp": int(time.time()) - 60},
        {"exp": "soon"},
        {"nbf": int(time.time()) + 86_400},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
    ],
)
async def test_a_token_with_a_wrong_or_missing_claim_is_a_bad_one(changed: dict[str, Any]) -> None:
    with pytest.raises(UnauthorizedError):
        await tokens().principal(EC.sign(claims(**changed)))


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _unsigned() -> str:
    return f"{_part({'alg': 'none', 'kid': 'rsa'})}.{_part(claims())}."


def _hmac_with_the_public_key() -> str:
    public = RSA.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signed = f"{_part({'alg': 'HS256', 'kid': 'rsa'})}.{_part(claims())}"
    tag = signer.sign(signed.encode(), public)
    return f"{signed}.{base64.urlsafe_b64encode(tag).decode().rstrip('=')}"


def _changed_afterwards() -> str:
    head, _, signature = EC.sign(claims()).split(".")
    return f"{head}.{_part(claims(sub='admin'))}.{signature}"


@pytest.mark.parametrize(
    "token",
    [
        _unsigned(),
        _hmac_with_the_public_key(),
        _changed_afterwards(),
        SigningKey("ec").sign(claims()),
        SigningKey("unknown").sign(claims()),
        RSA.sign(claims(), kid="ec"),
        SigningKey("rsa", "PS256").sign(claims()),
        EC.sign(claims(), typ="logout+jwt"),
        EC.sign(claims(), crit=["b64"], b64=True),
        EC.sign(claims(filler="x" * 20_000)),
        f"{_part({'alg': ['ES256']})}.{_part(claims())}.AAAA",
        f"{_part([])}.{_part(claims())}.AAAA",
        "a.b.c",
    ],
    ids=range(13),
)
async def test_a_token_that_the_issuer_did_not_sign_for_this_is_a_bad_one(token: str) -> None:
    with pytest.raises(UnauthorizedError):
        await tokens().principal(token)


async def test_the_issuers_clock_may_be_off_by_the_leeway() -> None:
    late = EC.sign(claims(exp=int(time.time()) - 20))
    assert await tokens().principal(late)
    with pytest.raises(UnauthorizedError):
        await tokens(rules=replace(RULES, leeway_s=10)).principal(late)


async def test_a_token_is_checked_once_a_minute_and_never_believed_after_its_end() -> None:
    issuer, clock = KnownKeys(EC), Clock()
    clock.now = time.time()
    checked = tokens(issuer, clock=clock)
    token, short = EC.sign(claims()), EC.sign(claims(exp=int(time.time()) + 2))
    for _ in range(3):
        await checked.principal(token)
    assert issuer.asked == 1
    clock.now += 61
    await checked.principal(token)
    assert issuer.asked == 2
    await checked.principal(short)
    clock.now += 33
    await checked.principal(short)  # by the clock of the library, which does not move here, it is still good
    assert issuer.asked == 4


async def test_a_token_is_checked_anew_when_the_issuers_keys_change() -> None:
    issuer = KnownKeys(EC)
    checked = tokens(issuer)
    token = EC.sign(claims())
    await checked.principal(token)
    issuer.keys, issuer.revision = [], 2
    with pytest.raises(UnauthorizedError):
        await checked.principal(token)


@pytest.mark.parametrize(
    ("changed", "may", "may_not"),
    [
        ({}, [("a", "t"), ("b", "u")], []),
        ({"scope": "openid busbar:query:a"}, [("a", "t"), ("a", "u")], [("b", "t")]),
        ({"scope": "busbar:query:a:t busbar:query:b:u"}, [("a", "t"), ("b", "u")], [("a", "u"), ("b", "t")]),
        ({"scope": "busbar:query:a*:read_*"}, [("ab", "read_x")], [("ab", "write"), ("b", "read_x")]),
        ({"scope": "busbar:query:a:file://x:1/*"}, [("a", "file://x:1/y")], [("a", "file://x:2/y")]),
        ({"scope": None, "scp": ["busbar:query:a"]}, [("a", "t")], [("b", "t")]),
        ({"scope": "busbar:query:b", "scp": "busbar:query:a"}, [("a", "t"), ("b", "t")], [("c", "t")]),
        ({"scope": "busbar:queries query other:query busbar:admin"}, [], [("a", "t")]),
        ({"scope": "busbar:query: busbar:query::t busbar:query:a: busbar:query::"}, [], [("a", "t")]),
        ({"scope": 7}, [], [("a", "t")]),
        ({"scope": None}, [], [("a", "t")]),
        ({"aud": f"{RESOURCE}/mcp"}, [("a", "t")], []),
        ({"aud": ["https://other.example", f"{RESOURCE}/"]}, [("a", "t")], []),
        ({"aud": f"{RESOURCE}/servers/a/mcp"}, [("a", "t")], [("b", "t")]),
        ({"aud": [f"{RESOURCE}/servers/a/mcp", f"{RESOURCE}/servers/b/mcp"]}, [("a", "t"), ("b", "t")], [("c", "t")]),
        ({"aud": f"{RESOURCE}/servers/a/mcp", "scope": "busbar:query:b"}, [], [("a", "t"), ("b", "t")]),
        ({"aud": f"{RESOURCE}/servers/a/mcp", "scope": "busbar:query:*:t"}, [("a", "t")], [("a", "u"), ("b", "t")]),
    ],
)
def test_scopes_and_the_audience_say_what_may_be_used(
    changed: dict[str, Any], may: list[tuple[str, str]], may_not: list[tuple[str, str]]
) -> None:
    principal = principal_of(claims(**changed), RULES)
    assert all(principal.may_use(server, name) and principal.may_use_server(server) for server, name in may)
    assert not any(principal.may_use(server, name) for server, name in may_not)
    assert principal.scopes == ({"query"} if may else frozenset())


_SCOPES = st.lists(st.from_regex(r"(busbar:)?query(:[ab*]{1,2}(:[tu*]{1,2})?)?", fullmatch=True), max_size=5)


@given(_SCOPES, st.data())
def test_a_scope_that_is_struck_out_never_adds_a_right(scopes: list[str], data: st.DataObject) -> None:
    fewer = [scope for scope in scopes if data.draw(st.booleans())]
    whole, part = (principal_of(claims(scope=" ".join(one)), RULES) for one in (scopes, fewer))
    for server in ("a", "b", "ab"):
        for name in ("t", "u"):
            assert whole.may_use(server, name) or not part.may_use(server, name)


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_each_subject_has_an_id_of_its_own_that_any_header_can_hold(one: str, other: str) -> None:
    try:
        ids = [principal_of(claims(sub=subject), RULES).id for subject in (one, other)]
    except UnauthorizedError:
        return
    assert (ids[0] == ids[1]) == (one == other)
    assert all(character.isascii() and character.isprintable() and character != " " for character in ids[0])


async def test_subjects_have_the_limits_that_are_set_for_them() -> None:
    principal = principal_of(claims(), replace(RULES, rate_per_s=5, max_in_flight=2))
    assert (principal.rate_per_s, principal.max_in_flight) == (5, 2)


def test_a_key_of_ours_does_not_look_like_a_token() -> None:
    assert looks_like_token(EC.sign(claims()))
    assert not looks_like_token("bb_a.b.c_Zm9v")
    assert not looks_like_token("")
