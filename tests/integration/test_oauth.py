"""Access tokens beside keys: settings, a real issuer, and the orchestrator's edges."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from services.orchestrator.api import router
from services.orchestrator.protected_resource import Challenges, metadata_routes
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.state import OrchestratorState
from services.runtime.auth.callers import Callers
from services.runtime.auth.issuer import Issuer, following_issuer
from services.runtime.auth.keys import add_key
from services.runtime.auth.ring import KeyRing
from services.runtime.auth.tokens import AccessTokens
from services.runtime.http import create_service
from services.runtime.http_settings import Names
from services.runtime.lifecycle import Lifecycle
from tests.support.asgi import asgi_client
from tests.support.fleet import fleet, ledger_server, record
from tests.support.issuer import RESOURCE, AuthorizationServer, SigningKey, authorization_server
from tests.support.waiting import until
from tests.unit.test_orchestrator_query import Gateway

pytestmark = pytest.mark.anyio

METADATA = f"{RESOURCE}/.well-known/oauth-protected-resource"


@pytest.fixture
async def issuer() -> AsyncIterator[AuthorizationServer]:
    async with authorization_server() as running:
        yield running


@dataclass
class Door:
    """An orchestrator's HTTP side over two announced servers, `a` and `b`, each with the tools `t` and `u`."""

    http: httpx.AsyncClient
    gateway: Gateway
    issuer: Issuer | None
    key: str
    """May use `a` alone."""

    async def ask(self, token: str | None, server: str = "a", tool: str = "t") -> httpx.Response:
        body = {"server": server, "tool": tool}
        return await self.http.post("/v1/query", json=body, headers=_authorization(token))

    async def get(self, path: str, token: str | None = None) -> Any:
        return (await self.http.get(path, headers=_authorization(token))).json()


def _authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def door(folder: Path, issuer: AuthorizationServer | None, **changed: Any) -> AsyncIterator[Door]:
    """Open one as `app` does; `changed` are settings without their `oauth_`."""
    gateway, life = Gateway(), Lifecycle()
    for server in ("a", "b"):
        await gateway.announced.join(server, tools=[{"name": "t"}, {"name": "u"}])
    if issuer is not None:
        changed = {"issuer": issuer.url, "resource": RESOURCE, **changed}
    settings = OrchestratorSettings(**{f"oauth_{name}": value for name, value in changed.items()})
    keys = folder / "keys.jsonl"
    key = add_key(keys, "of-a", servers=["a"])
    rules, known = settings.token_rules, settings.issuer()
    tokens = None if rules is None or known is None else AccessTokens(rules, known)
    callers = Callers(KeyRing(keys), tokens, listening=["127.0.0.1"], anonymous=None)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with life, following_issuer(known, gateway.registry, life):
            state = OrchestratorState(gateway.queries, gateway.admission, gateway.lists, callers.over_http)
            yield {"orchestrator": state, "readiness": lambda: None}

    app = create_service("Test", lifespan=lifespan, life=life, registry=gateway.registry, names=Names())
    app.include_router(router)
    if rules is not None:
        app.include_router(metadata_routes(rules))
        app.add_middleware(Challenges, rules=rules)
    async with asgi_client(app) as http:
        with anyio.fail_after(60):
            yield Door(http, gateway, known, key)


async def test_the_rights_of_a_token_hold_for_listing_and_calling_alike(
    tmp_path: Path, issuer: AuthorizationServer
) -> None:
    async with door(tmp_path, issuer) as one:
        token = issuer.token(scope="busbar:query:a:t busbar:query:b:u")
        listed = {(tool["server"], tool["tool"]["name"]) for tool in (await one.get("/v1/tools", token))["tools"]}
        called = {
            (server, tool)
            for server in ("a", "b")
            for tool in ("t", "u")
            if (await one.ask(token, server, tool)).status_code == 200
        }
        assert listed == called == {("a", "t"), ("b", "u")}


async def test_a_refusal_says_where_tokens_come_from(tmp_path: Path, issuer: AuthorizationServer) -> None:
    async with door(tmp_path, issuer) as one:
        nothing = await one.ask(None)
        assert nothing.status_code == 401
        assert nothing.headers["www-authenticate"] == (
            f'Bearer realm="busbar", resource_metadata="{METADATA}", scope="busbar:query"'
        )
        for path in ("/mcp", "/servers/a/mcp"):
            assert (await one.get(f"/.well-known/oauth-protected-resource{path}"))["resource"] == RESOURCE + path
        bad = await one.ask(issuer.token(exp=1))
        assert (bad.status_code, 'error="invalid_token"' in bad.headers["www-authenticate"]) == (401, True)
        for scope in ("busbar:query:b", "openid"):
            narrow = await one.ask(issuer.token(scope=scope))
            assert (narrow.status_code, 'error="insufficient_scope"' in narrow.headers["www-authenticate"]) == (
                403,
                True,
            )
        by_key = await one.ask(one.key, "b")
        assert (by_key.status_code, "www-authenticate" in by_key.headers) == (403, False)


@pytest.mark.parametrize(
    ("path", "place"),
    [("/mcp", "/mcp"), ("/servers/a/mcp", "/servers/a/mcp"), ("/v1/tools", ""), ('/servers/"x/mcp', "")],
)
async def test_the_challenge_at_an_address_for_mcp_clients_names_its_own_metadata(
    issuer: AuthorizationServer, path: str, place: str
) -> None:
    rules = OrchestratorSettings(oauth_issuer=issuer.url, oauth_resource=RESOURCE).token_rules
    assert rules is not None
    told: list[Any] = []

    async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Bearer")]})

    async def send(message: Any) -> None:
        told.append(message)

    nothing: Any = None
    await Challenges(refusing, rules=rules)({"type": "http", "path": path, "headers": []}, nothing, send)
    [(_, challenge)] = told[0]["headers"]
    assert f'resource_metadata="{METADATA}{place}"' in challenge.decode()


async def test_the_metadata_name_the_issuer_and_the_scope(tmp_path: Path, issuer: AuthorizationServer) -> None:
    async with door(tmp_path, issuer) as one:
        assert await one.get("/.well-known/oauth-protected-resource") == {
            "resource": RESOURCE,
            "authorization_servers": [issuer.url],
            "scopes_supported": ["busbar:query"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Busbar",
        }


async def test_without_an_issuer_there_are_no_metadata_and_every_token_is_a_bad_one(
    tmp_path: Path, issuer: AuthorizationServer
) -> None:
    async with door(tmp_path, None) as one:
        refused = await one.ask(issuer.token())
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="busbar"')
        assert (await one.get("/.well-known/oauth-protected-resource"))["code"] == "not_found"


async def test_with_an_issuer_nobody_is_anonymous(issuer: AuthorizationServer) -> None:
    settings = OrchestratorSettings(oauth_issuer=issuer.url, oauth_resource=RESOURCE)
    rules, known = settings.token_rules, settings.issuer()
    assert rules is not None
    assert known is not None
    alone = Callers(None, None, listening=["127.0.0.1"], anonymous=None)
    guarded = Callers(None, AccessTokens(rules, known), listening=["127.0.0.1"], anonymous=None)
    assert (await alone.over_http(None, [])).id == "anonymous"
    with pytest.raises(Exception, match="unauthorized"):
        await guarded.over_http(None, [])
    assert (await guarded.on_bus(None)).id == "bus"


async def test_an_issuer_that_is_down_locks_nobody_out_who_has_a_key(
    tmp_path: Path, issuer: AuthorizationServer
) -> None:
    issuer.is_up = False
    async with door(tmp_path, issuer, refresh_s=0.1) as one:
        assert (await one.ask(one.key)).status_code == 200
        untold = await one.ask(issuer.token())
        assert (untold.status_code, untold.json()["code"]) == (503, "issuer_unavailable")
        assert (untold.json()["executed"], untold.json()["retryable"]) == ("no", True)
        assert untold.headers["retry-after"] == "1"
        issuer.is_up = True
        await issuer.asked_again()
        assert (await one.ask(issuer.token())).status_code == 200


async def test_known_keys_hold_while_the_issuer_is_down_as_long_as_is_set(
    tmp_path: Path, issuer: AuthorizationServer
) -> None:
    (tmp_path / "hasty").mkdir()
    async with (
        door(tmp_path, issuer, refresh_s=0.1) as patient,
        door(tmp_path / "hasty", issuer, keep_s=0.1, refresh_s=0.05) as hasty,
    ):
        for one in (patient, hasty):
            assert (await one.ask(issuer.token())).status_code == 200
        issuer.is_up = False
        await until(lambda: patient.gateway.registry.get_sample_value("mcp_issuer_up") == 0)
        assert (await patient.ask(issuer.token(sub="new"))).status_code == 200
        with anyio.fail_after(20):
            number = 0
            while (await hasty.ask(issuer.token(sub=f"new{number}"))).status_code != 503:
                number += 1


async def test_the_issuer_may_change_its_key_between_two_calls(tmp_path: Path, issuer: AuthorizationServer) -> None:
    async with door(tmp_path, issuer, refresh_s=0.05) as one:
        old = issuer.token()
        assert (await one.ask(old)).status_code == 200
        issuer.keys = [SigningKey("second", "RS256")]
        with anyio.fail_after(20):
            while (await one.ask(issuer.token())).status_code != 200:
                await anyio.sleep(0.01)
        assert (await one.ask(old)).status_code == 401


@pytest.mark.parametrize(
    ("setting", "value", "claims"),
    [
        ("audience", ("api://busbar",), {"aud": "api://busbar"}),
        ("scope_claims", ("roles",), {"scope": None, "roles": ["busbar:query"]}),
        ("scope_prefix", "bb/", {"scope": "bb/query"}),
        ("leeway_s", 1e9, {"exp": 1_500_000_000}),
    ],
)
async def test_a_setting_lets_tokens_in_that_are_refused_without_it(
    tmp_path: Path, issuer: AuthorizationServer, *, setting: str, value: Any, claims: dict[str, Any]
) -> None:
    (tmp_path / "set").mkdir()
    async with door(tmp_path, issuer) as default, door(tmp_path / "set", issuer, **{setting: value}) as changed:
        token = issuer.token(**claims)
        assert (await default.ask(token)).status_code in (401, 403)
        assert (await changed.ask(token)).status_code == 200


async def test_algorithms_and_the_place_of_the_keys_can_be_set(tmp_path: Path, issuer: AuthorizationServer) -> None:
    issuer.keys = [SigningKey("first", "RS512"), SigningKey("second", "ES256")]
    issuer.metadata = {}
    async with door(tmp_path, issuer, algorithms=("RS512",), jwks_url=f"{issuer.url}/keys") as one:
        assert (await one.ask(issuer.token())).status_code == 401
        assert (await one.ask(issuer.keys[0].sign(issuer.claims()))).status_code == 200


async def test_each_subject_has_limits_of_its_own(tmp_path: Path, issuer: AuthorizationServer) -> None:
    async with door(tmp_path, issuer, rate_per_s=1) as one:
        hasty, calm = issuer.token(sub="hasty"), issuer.token(sub="calm")
        assert {(await one.ask(hasty)).status_code for _ in range(5)} == {200, 429}
        assert (await one.ask(calm)).status_code == 200


async def test_a_running_orchestrator_takes_tokens_over_http_and_on_the_bus(
    tmp_path: Path, issuer: AuthorizationServer
) -> None:
    env = {"BUSBAR_OAUTH_ISSUER": issuer.url, "BUSBAR_OAUTH_RESOURCE": RESOURCE, "BUSBAR_OAUTH_MAX_IN_FLIGHT": "1"}
    config = {name: ledger_server(tmp_path / name) for name in ("a", "b")}
    async with fleet(config, keys={}, env=env) as running:
        tokens = [issuer.token(scope="busbar:query:a"), issuer.token(exp=1), issuer.token(scope="openid")]
        for edge in ("http", "bus"):
            ask = running.asking(edge)
            told = [
                (await ask(record(server), key=None, headers=_authorization(token))).status
                for token, server in [(tokens[0], "a"), (tokens[0], "b"), (tokens[1], "a"), (tokens[2], "a")]
            ]
            assert told == [200, 403, 401, 403]
        statuses: list[int] = []

        async def ask_slowly() -> None:
            slow = await running.ask_http(record("a", ms=2000), key=None, headers=_authorization(tokens[0]))
            statuses.append(slow.status)

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(ask_slowly)
        assert sorted(statuses) == [200, 429]
        document = (await running.get("/openapi.json", key=None)).json
        assert "/.well-known/oauth-protected-resource/servers/{server}/mcp" in document["paths"]
        assert not any(part in running.logs() for token in tokens for part in token.split(".")[1:])
        assert json.dumps(issuer.url) not in running.logs()
