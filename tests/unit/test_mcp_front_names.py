"""What tools, prompts and resources are called in /mcp: one name each, which leads back to whom it belongs."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from services.orchestrator.mcp.names import (
    LONGEST_NAME,
    hashed_name,
    plain_name,
    prefixed_uri,
    shared_name,
    split_name,
    split_uri,
)
from services.orchestrator.mcp.uri_templates import UriTemplate

servers = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True).filter(lambda name: "__" not in name)
names = st.text(min_size=1, max_size=200)


@given(servers, names)
@example("a_", "b")
@example("a", "_b")
@example("a", "b__c")
def test_a_plain_name_leads_back_and_any_other_is_hashed(server: str, name: str) -> None:
    shared = shared_name(server, name)
    assert len(shared) <= LONGEST_NAME
    if plain_name(server, name) is None:
        assert shared == hashed_name(server, name)
        assert re.fullmatch(r".*_[a-z2-7]{10}", shared, re.DOTALL)
    else:
        assert split_name(shared) == (server, name)


@given(servers, servers, names, names)
def test_two_tools_never_have_the_same_plain_name(one: str, other: str, first: str, second: str) -> None:
    if (one, first) != (other, second) and plain_name(one, first) is not None:
        assert plain_name(one, first) != plain_name(other, second)


def test_what_is_no_plain_name_is_not_split() -> None:
    assert [split_name(name) for name in ("", "tool", "__tool", "server__", "a" * 40 + "__" + "b" * 40)] == [None] * 5


@given(servers, st.text(min_size=1))
def test_a_prefixed_uri_leads_back(server: str, uri: str) -> None:
    assert split_uri(prefixed_uri(server, uri)) == (server, uri)


def test_a_uri_without_our_prefix_is_not_split() -> None:
    assert [split_uri(uri) for uri in ("file:///a", "busbar+:x", "busbar+a b:x", "busbar+a:")] == [None] * 4


def test_a_template_matches_what_its_expressions_may_become() -> None:
    template = UriTemplate("notes://{year}/{month}/summary")
    matching = ["notes://2026/11/summary", "notes:////summary", "notes://2026/11/12/summary"]
    assert all(map(template.matches, matching))
    other = ["notes://2026/summary", "notes://2026/11/summary/", "Notes://2026/11/summary", "notes://x"]
    assert not any(map(template.matches, other))
    assert UriTemplate("a:b").matches("a:b")
    assert not UriTemplate("a:b").matches("a:bc")
    assert not UriTemplate("aa{x}aa").matches("aaa")


def test_of_two_templates_the_one_that_says_more_has_more_weight() -> None:
    assert UriTemplate("notes://{year}/{month}").weight > UriTemplate("notes://{rest}").weight
