"""A body becomes a query only if it is I-JSON and has the fields of one; arguments stay the bytes they are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_schemas.errors import FieldError
from bus_schemas.queries import MAX_BODY_BYTES, MAX_TIMEOUT_MS
from services.orchestrator.reading import read_query
from services.runtime.errors import InvalidJsonError, InvalidRequestError, PayloadTooLargeError, QueryError
from services.runtime.i_json import MAX_NESTING

_NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(_TEXT, children, max_size=4),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(_TEXT, _VALUES, max_size=5)


def _wrong(**fields: Any) -> list[tuple[str, str]]:
    """What is wrong with a query of these fields, as (pointer, keyword)."""
    with pytest.raises(InvalidRequestError) as refusal:
        read_query(json.dumps(fields).encode())
    return [(error.pointer, error.keyword) for error in refusal.value.errors]


def _nested(depth: int) -> bytes:
    """A query whose body nests `depth` deep."""
    inner = depth - 2
    return b'{"tool":"t","arguments":{"x":' + b"[" * inner + b"]" * inner + b"}}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"tool",
        b'{"tool":"t"} x',
        b'{"tool":"t"}{"tool":"t"}',
        b'{"tool":"t",}',
        b"{'tool':'t'}",
        b'{"tool":"t"} // why',
        b'{"tool":"t","tool":"t"}',
        b'{"tool":"t","arguments":{"a":1,"a":1}}',
        b'{"tool":"t","arguments":{"a":[{"b":{"c":1,"\\u0063":2}}]}}',
        b'{"tool":"t","arguments":{"a":NaN}}',
        b'{"tool":"t","arguments":{"a":Infinity}}',
        b'{"tool":"t","arguments":{"a":-Infinity}}',
        b'{"tool":"t","arguments":{"a":1e400}}',
        b'{"tool":"t","arguments":{"a":-1e400}}',
        b'{"tool":"t","arguments":{"a":01}}',
        b'{"tool":"t","arguments":{"a":.5}}',
        b'{"tool":"\\ud800"}',
        b'{"tool":"t","\\ud800":1}',
        b'{"tool":"t","arguments":{"a":"\\ud800"}}',
        b'{"tool":"t","arguments":{"\\udfff":1}}',
        b'{"tool":"t","arguments":{"a":"\\udc00\\ud800"}}',
        b'{"tool":"t","arguments":{"a":"\xed\xa0\x80"}}',
        b'{"tool":"t","arguments":{"a":"\xff"}}',
        b'{"tool":"t","arguments":{"a":"\xc0\xaf"}}',
        b'{"tool":"t","arguments":{"a":"\n"}}',
        b'{"tool":"t","arguments":{"a":"\\x41"}}',
        b'\xef\xbb\xbf{"tool":"t"}',
        '{"tool":"t"}'.encode("utf-16"),
        b'{"tool":"t","arguments":{"a":' + b"9" * 5000 + b"}}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_i_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJsonError):
        read_query(body)


def test_a_body_may_nest_64_deep_and_no_deeper() -> None:
    read_query(_nested(MAX_NESTING))
    with pytest.raises(InvalidJsonError):
        read_query(_nested(MAX_NESTING + 1))


def test_many_brackets_beside_each_other_are_no_nesting() -> None:
    assert read_query(b'{"tool":"t","arguments":{"x":[' + b",".join([b"[]"] * 1000) + b"]}}")


def test_a_surrogate_pair_is_one_character() -> None:
    assert read_query(b'{"tool":"\\ud83d\\ude00"}').query.tool == "😀"


def test_a_body_of_one_mebibyte_is_read_and_a_byte_more_is_too_large() -> None:
    body = b'{"tool":"t","arguments":{"x":"%s"}}'
    fitting = body % (b"x" * (MAX_BODY_BYTES - len(body) + 2))
    assert len(fitting) == MAX_BODY_BYTES
    assert read_query(fitting).query.tool == "t"
    with pytest.raises(PayloadTooLargeError):
        read_query(fitting + b" ")


@pytest.mark.parametrize("body", [b"null", b"1", b'"x"', b"[]", b'[{"tool":"t"}]'])
def test_a_body_that_is_no_object_is_an_invalid_request(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        read_query(body)
    assert refusal.value.errors == (FieldError(pointer="", keyword="type"),)


def test_exactly_one_of_tool_resource_and_prompt_is_asked_for() -> None:
    assert _wrong() == [("", "oneOf")]
    assert _wrong(tool="t", prompt="p") == [("", "oneOf")]
    assert _wrong(tool="t", resource="r:", prompt="p") == [("", "oneOf")]
    assert _wrong(tool=None) == [("", "oneOf")]
    for target in ("tool", "resource", "prompt"):
        assert read_query(json.dumps({target: "x"}).encode()).query.target == "x"


def test_unknown_and_malformed_fields_are_told_with_pointer_and_keyword() -> None:
    assert _wrong(tool="t", colour="red") == [("/colour", "additionalProperties")]
    assert _wrong(tool="t", **{"a/b~c": 1}) == [("/a~1b~0c", "additionalProperties")]
    assert _wrong(tool=7) == [("/tool", "type")]
    assert _wrong(tool="") == [("/tool", "minLength")]
    assert _wrong(tool="t" * 1025) == [("/tool", "maxLength")]
    assert _wrong(resource="r" * 8193) == [("/resource", "maxLength")]
    assert _wrong(tool="t", arguments=[]) == [("/arguments", "type")]
    assert _wrong(tool="t", arguments=None) == [("/arguments", "type")]
    assert _wrong(tool="t", cache="maybe") == [("/cache", "enum")]
    assert _wrong(tool="t", request_state=1) == [("/request_state", "type")]
    assert _wrong(tool="t", input_responses=[]) == [("/input_responses", "type")]
    assert _wrong(resource="r:", arguments={"a": 1}) == [("", "not")]
    assert _wrong(prompt="p", arguments={"a": 1}) == [("/arguments/a", "type")]


def test_every_wrong_field_is_told() -> None:
    assert sorted(_wrong(tool=1, server=2, timeout_ms="3")) == [
        ("/server", "type"),
        ("/timeout_ms", "type"),
        ("/tool", "type"),
    ]


@pytest.mark.parametrize(
    ("timeout", "keyword"),
    [
        (0, "minimum"),
        (-1, "minimum"),
        (MAX_TIMEOUT_MS + 1, "maximum"),
        (10**30, "maximum"),
        (True, "type"),
        (False, "type"),
        (5.0, "type"),
        ("5", "type"),
        (None, "type"),
    ],
)
def test_a_timeout_is_an_integer_between_its_bounds(timeout: object, keyword: str) -> None:
    assert _wrong(tool="t", timeout_ms=timeout) == [("/timeout_ms", keyword)]


def test_the_bounds_of_a_timeout_belong_to_it_and_the_default_is_thirty_seconds() -> None:
    for timeout in (1, MAX_TIMEOUT_MS):
        assert read_query(json.dumps({"tool": "t", "timeout_ms": timeout}).encode()).query.timeout_ms == timeout
    assert read_query(b'{"tool":"t"}').query.timeout_ms == 30_000


@pytest.mark.parametrize("server", ["", "a b", "a.b", "a__b", "ä", "a" * 65, "a*", "a>", "a\n", "../etc"])
def test_a_name_that_cannot_be_a_server_is_refused(server: str) -> None:
    assert _wrong(tool="t", server=server) == [("/server", "pattern")]


def test_long_names_of_unknown_fields_are_told_shortened() -> None:
    [(pointer, keyword)] = _wrong(tool="t", **{"x" * 100_000: 1})
    assert (len(pointer), keyword) == (129, "additionalProperties")


def test_arguments_reach_the_call_byte_for_byte() -> None:
    raw = b'{ "a" : 1.0e5,\t"big": 123456789012345678901234567890, "u": "\\u00fc\xc3\xbc\\/" ,"n":[ ] }'
    call = read_query(b'{"tool":"t","arguments": ' + raw + b' ,"server":"s"}').body()
    assert call == b'{"method":"tools/call","params":{"name":"t","arguments":' + raw + b"}}"


def test_escaped_names_of_fields_are_the_same_fields() -> None:
    assert read_query(b'{"tool":"t","\\u0061rguments":{"a":1}}').raw_arguments == b'{"a":1}'


def test_each_kind_of_query_becomes_its_method() -> None:
    def call(**fields: Any) -> Any:
        return json.loads(read_query(json.dumps(fields).encode()).body())

    assert call(tool='a"b') == {"method": "tools/call", "params": {"name": 'a"b', "arguments": {}}}
    assert call(prompt="p", arguments={"x": "y"}) == {
        "method": "prompts/get",
        "params": {"name": "p", "arguments": {"x": "y"}},
    }
    assert call(resource="r://x") == {"method": "resources/read", "params": {"uri": "r://x"}}
    assert call(tool="t", input_responses={"a": {}}, request_state="s") == {
        "method": "tools/call",
        "params": {"name": "t", "arguments": {}, "inputResponses": {"a": {}}, "requestState": "s"},
    }
    assert "inputResponses" not in call(tool="t", input_responses=None)["params"]


@given(arguments=_OBJECTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_any_json_object_is_carried_through_unchanged(arguments: Any, ascii_only: bool, indent: int | None) -> None:
    raw = json.dumps(arguments, ensure_ascii=ascii_only, indent=indent).encode()
    read = read_query(b'{"tool":"t","arguments":' + raw + b"}")
    assert read.raw_arguments == raw
    assert read.query.arguments == arguments
    assert json.loads(read.body())["params"]["arguments"] == arguments


@given(
    st.binary(max_size=200)
    | _VALUES.map(lambda value: json.dumps(value, ensure_ascii=False).encode())
    | st.fixed_dictionaries(
        {},
        optional={
            "server": _TEXT | _VALUES,
            "tool": _TEXT | _VALUES,
            "resource": _TEXT | _VALUES,
            "prompt": _TEXT | _VALUES,
            "arguments": _OBJECTS | _VALUES,
            "timeout_ms": st.integers() | _VALUES,
            "cache": st.sampled_from(["default", "bypass", "refresh"]) | _VALUES,
            "input_responses": _OBJECTS | _VALUES,
            "request_state": _TEXT | _VALUES,
        },
    ).map(lambda fields: json.dumps(fields).encode())
)
def test_whatever_comes_in_is_a_call_in_valid_json_or_a_query_error(body: bytes) -> None:
    try:
        call = read_query(body).body()
    except QueryError:
        return
    assert set(json.loads(call)) == {"method", "params"}


@given(st.data())
def test_a_query_with_one_byte_changed_is_read_or_refused_as_the_json_library_says(data: st.DataObject) -> None:
    body = bytearray(
        b'{"tool":"resolve","arguments":{"alias":"\\u00e9\\ud83d\\ude00","n":[1.5e3,true,null]},"timeout_ms":500}'
    )
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        call = read_query(bytes(body)).body()
    except QueryError:
        return
    arguments = json.loads(body)["arguments"] if b'"arguments"' in body else {}
    assert json.loads(call)["params"]["arguments"] == arguments
