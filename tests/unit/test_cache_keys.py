"""Whose answer is whose: nothing but what is the same, for the same caller, has the same key."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bus_schemas.queries import Query
from bus_schemas.workers import Catalogue
from services.orchestrator.cache.keys import CacheKeys
from services.orchestrator.catalogue import LiveVersion, Offer
from services.orchestrator.reading import ReadQuery
from services.runtime.auth.principals import Principal

names = st.text(min_size=1, max_size=8)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False, width=32)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
arguments = st.dictionaries(st.text(max_size=4), values, max_size=3)


def caller(name: str) -> Principal:
    return Principal(id=name, scopes=frozenset({"query"}), servers=("*",), tools=("*",))


def keys(
    asked: dict[str, Any],
    *,
    kind: str = "tool",
    target: str = "t",
    server: str = "s",
    version: str = "1.0.0",
    definition: dict[str, Any] | None = None,
    principal: str = "a",
    forwarded: dict[str, str] | None = None,
) -> CacheKeys:
    fields: dict[str, Any] = {"server": server, kind: target, "arguments": asked}
    query = Query.model_construct(**fields)
    tools = [{"name": target, **(definition or {})}]
    live = LiveVersion(server, version, Offer(Catalogue(tools=tools)), 0.0)
    return CacheKeys(ReadQuery(query, b"{}", None), live, caller(principal), forwarded or {})


@given(asked=arguments, one=names, other=names)
def test_no_two_callers_share_a_key_of_their_own(asked: dict[str, Any], one: str, other: str) -> None:
    assume(one != other)
    mine, theirs = keys(asked, principal=one), keys(asked, principal=other)
    assert len({mine.own, theirs.own, mine.public}) == 3
    assert mine.public == theirs.public


@given(one=arguments, other=arguments)
def test_arguments_have_the_same_key_exactly_if_they_are_the_same_json(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    def canonical(asked: dict[str, Any]) -> str:
        # -0.0 is 0 in RFC 8785, and so is 1.0 the same as 1.
        return json.dumps(json.loads(json.dumps(asked), parse_float=_number), sort_keys=True)

    assert (keys(one).public == keys(other).public) == (canonical(one) == canonical(other))


def _number(literal: str) -> float | int:
    number = float(literal)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


@pytest.mark.parametrize(
    "other",
    [
        {"server": "other"},
        {"version": "1.0.1"},
        {"target": "other"},
        {"kind": "resource"},
        {"definition": {"inputSchema": {"type": "object"}}},
        {"forwarded": {"x-tenant": "a"}},
        {"forwarded": {"x-tenant": "b"}},
    ],
    ids=str,
)
def test_whatever_the_answer_depends_on_is_in_the_key(other: dict[str, Any]) -> None:
    mine, theirs = keys({}), keys({}, **other)
    assert mine.own != theirs.own
    assert mine.public != theirs.public


def test_what_has_no_canonical_form_has_no_key() -> None:
    with pytest.raises(ValueError, match=str(2**53 + 1)):
        keys({"n": 2**53 + 1})
