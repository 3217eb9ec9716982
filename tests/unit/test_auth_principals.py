"""What a principal may use, by globs over servers and over tools, prompts and resources."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.auth.principals import ANONYMOUS, BUS, Principal


def principal(servers: list[str], tools: list[str]) -> Principal:
    return Principal(id="p", scopes=frozenset({"query"}), servers=tuple(servers), tools=tuple(tools))


@pytest.mark.parametrize(
    ("servers", "tools", "server", "name", "may"),
    [
        (["*"], ["*"], "database_mcp", "query", True),
        (["database_mcp"], ["*"], "database_mcp", "query", True),
        (["database_mcp"], ["*"], "database_mcp_2", "query", False),
        (["database_*"], ["*"], "database_mcp", "query", True),
        (["a", "b"], ["x", "y"], "b", "y", True),
        (["*"], ["list_*"], "a", "list_tables", True),
        (["*"], ["list_*"], "a", "query", False),
        (["*"], ["list_*"], "a", "LIST_TABLES", False),
        (["*"], ["product-aliases://*"], "a", "product-aliases://list/all", True),
        (["*"], ["product-aliases://*"], "a", "column-mappings://list", False),
        (["*"], ["a.b"], "a", "axb", False),
        (["*"], ["query"], "a", "query\n", False),
        ([], ["*"], "a", "query", False),
        (["*"], [], "a", "query", False),
    ],
)
def test_both_the_server_and_the_name_must_match_a_pattern(
    servers: list[str], tools: list[str], server: str, name: str, may: bool
) -> None:
    assert principal(servers, tools).may_use(server, name) is may


def test_a_server_may_be_seen_if_one_of_the_patterns_matches_it() -> None:
    assert principal(["a*"], []).may_use_server("ab")
    assert not principal(["a*"], ["*"]).may_use_server("ba")
    assert not principal([], ["*"]).may_use_server("a")


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_name_without_wildcards_permits_itself_and_nothing_else(pattern: str, name: str) -> None:
    if not set("*?[") & set(pattern):
        assert principal([pattern], ["*"]).may_use_server(name) is (pattern == name)


def test_callers_without_a_key_may_query_everything_and_administer_nothing() -> None:
    for caller in (ANONYMOUS, BUS):
        assert caller.scopes == {"query"}
        assert caller.may_use("any", "thing")


def test_a_principal_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ANONYMOUS.id = "other"  # type: ignore[misc]
