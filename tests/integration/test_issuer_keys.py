"""The keys of the issuer of access tokens: read in the background, kept while it does not answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry

from services.runtime.auth.issuer import Issuer, following_issuer
from services.runtime.auth.issuer_key import NoKeysError
from services.runtime.auth.jwks import fetch_keys
from services.runtime.errors import IssuerUnavailableError
from services.runtime.lifecycle import Lifecycle
from tests.support.clock import Clock
from tests.support.issuer import AuthorizationServer, SigningKey, authorization_server
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[AuthorizationServer]:
    async with authorization_server() as running:
        yield running


@asynccontextmanager
async def followed(
    server: AuthorizationServer, clock: Clock, *, refresh_s: float = 300, keep_s: float = 3600
) -> AsyncIterator[tuple[Issuer, CollectorRegistry]]:
    issuer = Issuer(partial(fetch_keys, server.url, None), refresh_s=refresh_s, keep_s=keep_s, clock=clock)
    registry = CollectorRegistry()
    async with Lifecycle() as life:
        async with following_issuer(issuer, registry, life):
            with anyio.fail_after(20):
                yield issuer, registry


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
async def test_a_key_is_found_by_its_id_and_serves_its_own_algorithm_alone(
    server: AuthorizationServer, algorithm: str
) -> None:
    server.keys = [SigningKey("first", algorithm), SigningKey("other", "ES256")]
    async with followed(server, Clock()) as (issuer, _):
        assert await issuer.key("first", algorithm) == server.keys[0].private.public_key()
        assert await issuer.key("first", "HS256") is None
        assert await issuer.key("other", algorithm) in (None, server.keys[1].private.public_key())


async def test_an_rsa_key_that_names_no_algorithm_serves_every_one_of_rsa(server: AuthorizationServer) -> None:
    server.keys = [SigningKey("first", "RS256", says_algorithm=False)]
    async with followed(server, Clock()) as (issuer, _):
        assert await issuer.key("first", "PS256") == await issuer.key("first", "RS512") is not None
        assert await issuer.key("first", "ES256") is None


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server/realms/one",
        "/.well-known/openid-configuration/realms/one",
        "/realms/one/.well-known/openid-configuration",
    ],
)
async def test_metadata_are_looked_for_at_each_place_where_they_may_be(server: AuthorizationServer, path: str) -> None:
    issuer = f"{server.url}/realms/one"
    server.metadata_path, server.metadata = path, {"issuer": issuer, "jwks_uri": f"{server.url}/keys"}
    assert [key.kid for key in await fetch_keys(issuer, None)] == ["first"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}/", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": "ftp://127.0.0.1/keys"},
        {"issuer": "{url}", "jwks_uri": 7},
    ],
)
async def test_metadata_of_somebody_else_or_without_a_place_for_keys_are_not_gone_by(
    server: AuthorizationServer, metadata: dict[str, Any]
) -> None:
    server.metadata = {
        name: value.format(url=server.url) if isinstance(value, str) else value for name, value in metadata.items()
    }
    with pytest.raises(NoKeysError):
        await fetch_keys(server.url, None)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"keys":{}}', b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', b" " * 300_000]
)
async def test_an_answer_without_a_usable_key_is_none(server: AuthorizationServer, body: bytes) -> None:
    server.body = body
    with pytest.raises(NoKeysError):
        await fetch_keys(server.url, f"{server.url}/keys")


async def test_weak_unknown_and_encryption_keys_are_passed_over(server: AuthorizationServer) -> None:
    weak, good, hidden = SigningKey("weak", "RS256", bits=1024), SigningKey("good"), SigningKey("hidden")
    hidden.jwk["use"] = "enc"
    unknown = SigningKey("unknown")
    unknown.jwk["kty"] = "new"
    server.keys = [weak, unknown, hidden, good]
    assert [key.kid for key in await fetch_keys(server.url, None)] == ["good"]


async def test_a_new_key_is_fetched_when_the_first_token_shows_it(server: AuthorizationServer) -> None:
    clock = Clock()
    async with followed(server, clock) as (issuer, _):
        await issuer.key("first", "ES256")
        server.keys.append(SigningKey("second"))
        assert await issuer.key("second", "ES256") is None  # it was asked a moment ago
        clock.now += 5
        assert await issuer.key("second", "ES256") is not None


async def test_keys_that_nobody_has_cost_the_issuer_one_question_in_five_seconds(server: AuthorizationServer) -> None:
    clock = Clock()
    async with followed(server, clock) as (issuer, _):
        await issuer.key("first", "ES256")
        clock.now += 5
        answers = await asyncio.gather(*(issuer.key(f"made-up-{number}", "ES256") for number in range(50)))
        assert answers == [None] * 50
        assert server.asked.count("/keys") == 2


async def test_a_key_that_is_taken_back_is_gone_with_the_next_reading(server: AuthorizationServer) -> None:
    real = Issuer(partial(fetch_keys, server.url, None), refresh_s=0.05, keep_s=60)
    async with Lifecycle() as life, following_issuer(real, CollectorRegistry(), life):
        with anyio.fail_after(20):
            assert await real.key("first", "ES256") is not None
            server.keys = [SigningKey("second")]
            await until(lambda: real.revision == 2)
            assert await real.key("first", "ES256") is None


async def test_known_keys_hold_while_the_issuer_is_away_but_not_for_ever(server: AuthorizationServer) -> None:
    clock = Clock()
    async with followed(server, clock, keep_s=100) as (issuer, registry):
        await issuer.key("first", "ES256")
        assert registry.get_sample_value("mcp_issuer_up") == 1
        server.is_up = False
        clock.now += 99
        assert await issuer.key("first", "ES256") is not None
        assert await issuer.key("second", "ES256") is None  # and meanwhile it is asked
        assert registry.get_sample_value("mcp_issuer_up") == 0
        clock.now += 2
        with pytest.raises(IssuerUnavailableError):
            await issuer.key("first", "ES256")
        server.is_up = True
        clock.now += 5
        assert await issuer.key("first", "ES256") is not None
        assert registry.get_sample_value("mcp_issuer_up") == 1


async def test_who_comes_before_the_first_answer_waits_for_it(server: AuthorizationServer) -> None:
    server.may_answer.clear()
    async with followed(server, Clock()) as (issuer, _):
        await until(lambda: bool(server.asked))
        waiting = asyncio.create_task(issuer.key("first", "ES256"))
        await asyncio.sleep(0)
        server.may_answer.set()
        assert await waiting is not None


async def test_an_issuer_that_never_answers_holds_nobody_up_for_more_than_two_seconds(
    server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.auth.issuer._WAIT_S", 0.05)
    server.may_answer.clear()
    async with followed(server, Clock()) as (issuer, _):
        await until(lambda: bool(server.asked))
        with pytest.raises(IssuerUnavailableError):
            await issuer.key("first", "ES256")
