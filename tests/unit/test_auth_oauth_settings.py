"""Which variables make us a resource server, and which are refused."""

from typing import Any

import pytest

from services.runtime.auth.oauth_settings import OAuthSettings
from services.runtime.settings import SettingsError, read_settings

ISSUER, RESOURCE = "https://issuer.example/realms/one/", "https://busbar.example"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OAuthSettings.model_fields:
        monkeypatch.delenv(f"BUSBAR_{name.upper()}", raising=False)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> OAuthSettings:
    for name, value in variables.items():
        monkeypatch.setenv(f"BUSBAR_OAUTH_{name}", value)
    return read_settings(OAuthSettings)


def test_without_an_issuer_there_are_keys_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch).token_rules is None
    assert settings(monkeypatch).issuer() is None


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("ISSUER", ISSUER, "issuer", ISSUER),
        ("RESOURCE", f"{RESOURCE}/", "resource", RESOURCE),
        ("AUDIENCE", "api://busbar, other", "audiences", {"api://busbar", "other"}),
        ("ALGORITHMS", "RS512,ES512", "algorithms", {"RS512", "ES512"}),
        ("SCOPE_CLAIMS", "roles", "scope_claims", ("roles",)),
        ("SCOPE_PREFIX", "", "scope_prefix", ""),
        ("LEEWAY_S", "0", "leeway_s", 0),
        ("RATE_PER_S", "5", "rate_per_s", 5),
        ("MAX_IN_FLIGHT", "3", "max_in_flight", 3),
    ],
)
def test_each_variable_sets_its_rule(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: Any
) -> None:
    default = settings(monkeypatch, ISSUER="http://127.0.0.1:1", RESOURCE="http://localhost:8080").token_rules
    assert getattr(default, field) != value
    assert getattr(settings(monkeypatch, **{variable: text}).token_rules, field) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ISSUER", "http://issuer.example"),
        ("ISSUER", "https://"),
        ("ISSUER", "https://user@issuer.example"),
        ("ISSUER", "https://issuer.example?x=1"),
        ("ISSUER", "issuer.example"),
        ("ISSUER", "https://[x"),
        ("RESOURCE", "https://busbar.example/mcp"),
        ("RESOURCE", "http://busbar.example"),
        ("JWKS_URL", "http://issuer.example/keys"),
        ("ALGORITHMS", "HS256"),
        ("ALGORITHMS", "RS256,none"),
        ("ALGORITHMS", ""),
        ("SCOPE_PREFIX", "a b"),
        ("REFRESH_S", "0"),
        ("KEEP_S", "-1"),
        ("RATE_PER_S", "0"),
        ("MAX_IN_FLIGHT", "0"),
    ],
)
def test_what_would_not_be_safe_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^BUSBAR_OAUTH_{variable}: "):
        settings(monkeypatch, **{"ISSUER": ISSUER, "RESOURCE": RESOURCE, variable: text})


@pytest.mark.parametrize("variable", ["ISSUER", "RESOURCE"])
def test_an_issuer_without_a_resource_is_refused_and_so_is_a_resource_without_an_issuer(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with pytest.raises(SettingsError, match="go together"):
        settings(monkeypatch, **{variable: ISSUER if variable == "ISSUER" else RESOURCE})
