"""I-JSON: what two readers of one text cannot understand differently (RFC 7493)."""

import json
import math
from typing import Any, Final, Never

from services.runtime.errors import InvalidJsonError

MAX_NESTING: Final = 64


def read_i_json(body: bytes) -> Any:
    """Return the JSON value in `body`.

    Raises:
        InvalidJsonError: it is not I-JSON, or nests deeper than 64 levels.

    Source:
        RFC 7493.
    """
    try:
        text = body.decode("utf-8")
        document = _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJsonError from error
    if "\\u" in text and _has_lone_surrogate(document):
        raise InvalidJsonError
    # A text nests at most as deep as it has opening brackets; few have so many.
    if text.count("{") + text.count("[") > MAX_NESTING and _depth_exceeds(document, MAX_NESTING):
        raise InvalidJsonError
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


def _finite_number(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise ValueError("number out of range")
    return number


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_constant=_refuse, parse_float=_finite_number
)
"""Made once: `json.loads` makes one for each text. It does not know a byte order mark, either."""


def _has_lone_surrogate(document: Any) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            if isinstance(container, dict | list)
            for child in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)
