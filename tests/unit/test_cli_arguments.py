"""`key=value` words as arguments."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.arguments import ArgumentsError, is_ambiguous, parse_object, split_words, typed


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=5", 5),
        ("a=-1.5", -1.5),
        ("a=true", True),
        ("a=null", None),
        ("a=[1, 2]", [1, 2]),
        ('a={"b": 1}', {"b": 1}),
        ('a="7"', "7"),
        ("a=abracadabra", "abracadabra"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=NaN", "NaN"),
        ("a=True", "True"),
        ('a={"b": 1, "b": 2}', '{"b": 1, "b": 2}'),
        ("a=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_that_is_json_is_taken_as_json_and_any_other_as_text(word: str, value: object) -> None:
    assert typed(split_words([word]), {}) == {"a": value}


@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": ["string", "null"]}, {"anyOf": [{"type": "string"}]}])
@pytest.mark.parametrize("text", ["5", "true", "[1]", "1e5"])
def test_a_tool_that_wants_text_gets_the_text_as_typed(schema: dict[str, object], text: str) -> None:
    assert typed({"a": text}, {"properties": {"a": schema}}) == {"a": text}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "5", 5),
        ({"type": ["string", "null"]}, "null", None),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, "5", 5),
        ({"type": "string"}, '"5"', "5"),
        ({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}]}, "5", 5),
        ({"type": 5}, "5", 5),
        ("not a schema", "5", 5),
    ],
)
def test_a_schema_decides_only_what_it_plainly_says(schema: object, text: str, value: object) -> None:
    assert typed({"a": text}, {"properties": {"a": schema}}) == {"a": value}


def test_a_schema_without_properties_decides_nothing() -> None:
    assert typed({"a": "5"}, {"properties": []}) == {"a": 5}


def test_only_values_that_are_not_text_need_a_schema() -> None:
    assert is_ambiguous({"a": "x", "b": "5"})
    assert not is_ambiguous({"a": "x", "b": '"5"'})


@pytest.mark.parametrize("words", [["novalue"], ["=5"], ["a=1", "a=2"]])
def test_words_that_are_no_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(ArgumentsError):
        split_words(words)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_an_object_is_read_as_it_is(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"a": NaN}', '{"a": 1, "a": 2}', "", "[" * 100_000])
def test_a_text_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ArgumentsError):
        parse_object(text)
