"""The outermost members are read of any JSON, and of nothing else; raw parts are the text's own bytes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import outlines
from services.runtime.outlines import FOLDED_AT, MOST_BRACKETS, decode_outline


class Outline(msgspec.Struct):
    raw: msgspec.Raw = msgspec.Raw()
    word: str = ""


DECODER = msgspec.json.Decoder(Outline)

ANY_TEXT = st.text(st.characters(exclude_categories=()) | st.sampled_from('\\"[]{}\ud800\udc00'))
LEAVES = st.none() | st.booleans() | st.integers() | ANY_TEXT
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


def around(value: bytes) -> bytes:
    return b'{"word":"w", "raw": %s }' % value


def nested(depth: int, inmost: bytes = b"1", beside: bytes = b"") -> bytes:
    """An array or object of so many levels; half of each kind."""
    opening = (b'{"[":' + beside + b"[") * (depth // 2) + b"[" * (depth % 2)
    return opening + inmost + b"]" * (depth % 2) + b"]}" * (depth // 2)


def assert_is_read(value: bytes) -> None:
    outline = decode_outline(DECODER, around(value))
    assert (bytes(outline.raw), outline.word) == (value, "w")


@given(JSON, st.sampled_from([None, 1]))
def test_any_json_is_read_and_stays_its_own_bytes(value: Any, indent: int | None) -> None:
    assert_is_read(json.dumps(value, indent=indent).encode())


@given(JSON, st.integers(0, 4 * FOLDED_AT))
def test_any_json_is_read_at_any_depth(value: Any, depth: int) -> None:
    assert_is_read(nested(depth, json.dumps(value).encode()))


@pytest.mark.parametrize(
    "depth", [FOLDED_AT - 2, FOLDED_AT - 1, FOLDED_AT, 2 * FOLDED_AT - 1, 2 * FOLDED_AT, 5000, 100_001]
)
def test_every_depth_is_read(depth: int) -> None:
    assert_is_read(nested(depth))
    assert_is_read(b"[%s, %s, 7]" % (nested(depth), nested(depth + 1)))


@pytest.mark.parametrize(
    "wrong",
    [b"NaN", b"01", b"1]", b"[1", b"}", b'"\x01"', b'"\\u12"', b"1 2", b",", b'"\\ud800', b"\\\\", b"__", b"{]"],
)
@pytest.mark.parametrize("depth", [0, 1, FOLDED_AT, 3 * FOLDED_AT + 7])
def test_what_is_no_json_is_refused_at_any_depth(wrong: bytes, depth: int) -> None:
    for value in (nested(depth, wrong), nested(depth, b'"\\ud800",' + wrong)):
        with pytest.raises(msgspec.DecodeError):
            decode_outline(DECODER, around(value))


@pytest.mark.parametrize("value", [b"[" * 10**5, b"]" * 10**5, b"[" * 2000 + b"}" * 2000, nested(2000) + b"]"])
def test_brackets_that_do_not_match_are_refused(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_outline(DECODER, around(value))


@pytest.mark.parametrize(
    "string",
    [rb"\ud800", rb"x\uDFFF", rb"\udc00\ud800", rb"\ud83d\ude00", rb"\\ud800", rb"\\\ud800", rb"\"\\\\\\\uD83d\""],
)
def test_surrogates_alone_and_in_pairs_stay_as_they_are_escaped(string: bytes) -> None:
    assert_is_read(b'"%s"' % string)
    assert_is_read(nested(2000, b'"%s"' % string))


def test_a_surrogate_in_a_string_that_is_read_is_the_null_character() -> None:
    assert decode_outline(DECODER, rb'{"word":"a\ud8ffz\ud7ff"}').word == "a\0z\ud7ff"


def test_a_type_that_does_not_fit_is_refused_at_any_depth() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_outline(DECODER, b'{"word":%s}' % nested(2000))


def test_a_deep_text_with_too_many_brackets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "MOST_BRACKETS", 4002)
    assert_is_read(nested(2000))
    with pytest.raises(msgspec.DecodeError):
        decode_outline(DECODER, around(nested(2001)))


def test_a_wide_text_may_have_any_number_of_brackets() -> None:
    assert_is_read(b"[" + b"[]," * MOST_BRACKETS + b"[]]")
