"""The public part: defaults, limits, and what the servers say of each other."""

import pytest
from pydantic import ValidationError

from services.runtime.config.policy import Policy, ServerPolicy, ToolPolicy


def server(**keys: object) -> ServerPolicy:
    return ServerPolicy.model_validate(keys)


def message(**servers: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate({"servers": servers})
    return str(caught.value)


def test_the_defaults_are_those_of_the_specification() -> None:
    assert server().model_dump() == {
        "version": "0.0.0",
        "priority": 100,
        "group": None,
        "alternates": (),
        "max_in_flight": 64,
        "timeout_s": 30.0,
        "era": "auto",
        "trust_hints": False,
        "session": "shared",
        "forward_headers": (),
        "disabled": False,
        "tools": {},
    }


def test_what_the_operator_did_not_say_of_a_tool_stays_unsaid() -> None:
    assert ToolPolicy().model_dump() == {
        "cache_ttl_s": None,
        "cache_scope": None,
        "idempotent": None,
        "stale_if_error_s": 0.0,
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "1.0"),
        ("version", "v1.0.0"),
        ("priority", 0),
        ("priority", 1000),
        ("priority", True),
        ("priority", "10"),
        ("group", "a.b"),
        ("group", ""),
        ("alternates", "b"),
        ("alternates", ["b", "b"]),
        ("alternates", ["a__b"]),
        ("max_in_flight", 0),
        ("timeout_s", 0),
        ("timeout_s", 301),
        ("timeout_s", float("nan")),
        ("era", "old"),
        ("trust_hints", "yes"),
        ("session", "own"),
        ("tools", ["query"]),
        ("tools", {"": {}}),
        ("tools", {"a\nb": {}}),
        ("tools", {"a": {"cache_ttl_s": -1}}),
        ("tools", {"a": {"cache_ttl_s": float("inf")}}),
        ("tools", {"a": {"cache_scope": "all"}}),
        ("tools", {"a": {"idempotent": 1}}),
        ("url", "http://127.0.0.1/"),
    ],
)
def test_a_bad_value_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        server(**{key: value})


def test_a_version_that_yaml_reads_as_a_number_is_explained() -> None:
    with pytest.raises(ValidationError, match=r"YAML reads this as a number; write three numbers, such as 1\.0\.0"):
        server(version=1.0)


def test_a_bad_name_of_a_server_is_explained() -> None:
    assert "without '__'" in message(a__b={})
    assert "1 to 64 letters" in message(**{"a b": {}})


def test_an_alternate_is_another_configured_server() -> None:
    text = message(a={"alternates": ["a"]}, b={"alternates": ["c"]})
    assert "a names itself as its alternate" in text
    assert "the alternate c of b is not a configured server" in text
    assert Policy.model_validate({"servers": {"a": {"alternates": ["b"]}, "b": {}}}).servers["a"].alternates == ("b",)


def test_forwarded_headers_are_told_in_lower_case() -> None:
    assert server(forward_headers=["X-User-Token", "accept-language"]).forward_headers == (
        "x-user-token",
        "accept-language",
    )


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "cookie",
        "Connection",
        "transfer-encoding",
        "content-length",
        "Host",
        "mcp-session-id",
        "a b",
        "",
    ],
)
def test_a_header_that_must_not_reach_a_server_cannot_be_forwarded(name: str) -> None:
    with pytest.raises(ValidationError):
        server(forward_headers=[name])


def test_a_header_is_forwarded_once() -> None:
    with pytest.raises(ValidationError):
        server(forward_headers=["X-A", "x-a"])


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        server().priority = 3  # type: ignore[misc]
