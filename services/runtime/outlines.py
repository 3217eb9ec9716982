"""Reads the outermost members of JSON that others wrote, however deep it is and whatever its strings escape."""

import re
from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

FOLDED_AT: Final = 500
"""Above the depth of anything that is read, below that at which the decoder gives up (the rest of Python's 1000)."""
MOST_BRACKETS: Final = 1_000_000
"""In a text that is too deep for the decoder; looking at so many takes a third of a second."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_UP_TO_BRACKET: Final = re.compile(
    rb"""[^"\[\]{}]*+ (?: "[^"\\]*+ (?:\\.[^"\\]*+)*+" [^"\[\]{}]*+ )*+ [\[\]{}]""", re.VERBOSE | re.DOTALL
)
_json_decoder = msgspec.json.Decoder(msgspec.Raw)

T = TypeVar("T")


def decode_outline(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    """Return what `decoder` makes of `text`, also where the decoder alone gives up although it is JSON.

    It does so over a few hundred levels, and at the escape of half a surrogate pair (`JSON.stringify` of a cut emoji).
    Raw parts are the text's own bytes; in strings that are decoded from such a text surrogates are U+0000.

    Raises:
        msgspec.DecodeError: `text` is not JSON or not of the decoder's type, or it is too deep for the decoder and has
            more than `MOST_BRACKETS` brackets.
    """
    try:
        return decoder.decode(text)
    except RecursionError:
        plain = _without_surrogates(text)
    except msgspec.DecodeError:
        plain = _without_surrogates(text)
        if plain == text:
            raise
    # The decoder reads a text of the same length, and the raw parts it has found there get their own bytes back.
    buffer = bytearray(plain)
    try:
        found = decoder.decode(buffer)
    except RecursionError:
        for start, end in _deep_parts(plain):
            buffer[start:end] = b"0".ljust(end - start)
        found = decoder.decode(buffer)
    buffer[:] = text
    return found


def _without_surrogates(text: bytes) -> bytes:
    # Escaped backslashes first: what follows them is no escape.
    return _SURROGATE.sub(rb"\\u0000", text.replace(rb"\\", b"__"))


def _deep_parts(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the values at the depth `FOLDED_AT` begin and end, each of them valid JSON.

    What is deeper by as much again is folded within them, and so on: each byte is decoded once.

    Raises:
        msgspec.DecodeError: one is no JSON or does not end, or there are too many brackets.
    """
    folds: list[_Fold] = []
    depth = end = brackets = 0
    while (found := _UP_TO_BRACKET.match(text, end)) is not None:
        end = found.end()
        brackets += 1
        if brackets > MOST_BRACKETS:
            raise msgspec.DecodeError("too deep and too large")
        if text[end - 1] in b"[{":
            depth += 1
            if depth % FOLDED_AT == 0:
                folds.append(_Fold(end - 1))
            continue
        if depth % FOLDED_AT == 0:
            if not folds:
                break
            fold = folds.pop()
            _json_decoder.decode(b"".join((*fold.pieces, text[fold.rest_at : end])))
            if folds:
                folds[-1].leave_out(text, fold.start, end)
            else:
                yield fold.start, end
        depth -= 1
    if folds or depth:
        raise msgspec.DecodeError("brackets do not match")


class _Fold:
    """A value that has not ended: what is not folded of it so far, and where it goes on."""

    def __init__(self, start: int) -> None:
        self.start = self.rest_at = start
        self.pieces: list[bytes] = []

    def leave_out(self, text: bytes, start: int, end: int) -> None:
        """Put a number in the place of a value within it."""
        self.pieces += text[self.rest_at : start], b"0"
        self.rest_at = end
