"""What may be an idempotency key, and which queries are the same query."""

import json
from typing import Any

import pytest

from services.orchestrator.idempotency.keys import KeyedQuery, keyed_query
from services.orchestrator.reading import read_query
from services.runtime.auth.principals import ANONYMOUS, BUS, Principal
from services.runtime.errors import InvalidRequestError

_LARGE = "x" * 100_000


def _keyed(body: bytes | dict[str, Any], *, key: str = "k", principal: Principal = ANONYMOUS) -> KeyedQuery:
    return keyed_query(key, principal, read_query(body if isinstance(body, bytes) else json.dumps(body).encode()))


@pytest.mark.parametrize("key", ["k", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~"])
def test_visible_ascii_is_a_key(key: str) -> None:
    assert _keyed({"tool": "t"}, key=key) == _keyed({"tool": "t"}, key=key)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a, a", "ü", "a\x7f", "a\n", "a\0b"])
def test_anything_else_is_an_invalid_request(key: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        _keyed({"tool": "t"}, key=key)
    assert [(wrong.pointer, wrong.keyword) for wrong in refusal.value.errors] == [
        ("/headers/idempotency-key", "pattern")
    ]


def test_each_caller_has_keys_of_its_own() -> None:
    own = {_keyed({"tool": "t"}, key=key, principal=caller).caller_key for key in "ab" for caller in (ANONYMOUS, BUS)}
    assert len(own) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"tool":"t","arguments":{"a":1,"b":[2.0]}}', b' {"arguments": {"b": [2], "a": 1.0}, "tool": "t"}'),
        (b'{"tool":"t"}', b'{"tool":"t","arguments":{},"cache":"default","timeout_ms":1}'),
        (
            b'{"tool":"t","arguments":{"a":9007199254740993}}',
            b'{"timeout_ms":5,"tool":"t","arguments":{"a":9007199254740993}}',
        ),
        (
            json.dumps({"tool": "t", "arguments": {"a": _LARGE}}).encode(),
            json.dumps({"timeout_ms": 5, "tool": "t", "arguments": {"a": _LARGE}}).encode(),
        ),
    ],
    ids=["canonical", "defaults and the time limit", "an integer without canonical form", "large"],
)
def test_the_same_query_may_be_written_in_other_words(one: bytes, other: bytes) -> None:
    assert _keyed(one) == _keyed(other)


@pytest.mark.parametrize(
    "other",
    [
        {"server": "s"},
        {"tool": "u"},
        {"tool": None, "prompt": "t", "arguments": {"a": "1"}},
        {"arguments": {"a": 2}},
        {"arguments": {"a": 1}},
        {"arguments": {"a": 9007199254740993}},
        {"arguments": {"a": "1", "b": None}},
        {"arguments": {"a": _LARGE}},
        {"cache": "bypass"},
        {"request_state": "s"},
        {"input_responses": {}},
    ],
)
def test_whatever_else_differs_makes_another_query(other: dict[str, Any]) -> None:
    query: dict[str, Any] = {"tool": "t", "arguments": {"a": "1"}}
    changed = {name: value for name, value in {**query, **other}.items() if value is not None}
    assert _keyed(query).digest != _keyed(changed).digest


def test_large_integers_and_large_arguments_are_told_apart() -> None:
    integers = {_keyed(b'{"tool":"t","arguments":{"a":%d}}' % number).digest for number in (2**53 + 1, 2**53 + 2)}
    large = {_keyed({"tool": "t", "arguments": {"a": _LARGE + end}}).digest for end in "xy"}
    assert (len(integers), len(large)) == (2, 2)
