"""`key=value` words, or one JSON object, as the arguments of a query."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Never

_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


class ArgumentsError(ValueError):
    """The arguments cannot be understood; its text is for the user."""


def split_words(words: Sequence[str]) -> dict[str, str]:
    """Return the values of `key=value` words, as they were typed.

    Raises:
        ArgumentsError: a word is none, or a key comes twice.
    """
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ArgumentsError(f"{word!r} is not key=value")
        if key in values:
            raise ArgumentsError(f"{key!r} is given twice")
        values[key] = value
    return values


def is_ambiguous(values: Mapping[str, str]) -> bool:
    """Return whether a value could be meant as text or as other JSON, so that only a schema can tell."""
    return any(not isinstance(_parsed(value), str) for value in values.values())


def typed(values: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as JSON where they are JSON, else as text.

    A property whose `schema` wants a string, and not what the value is as JSON, gets the text. A value in JSON
    quotes is always text, so `'id="7"'` works without a schema too.

    Args:
        values: as `split_words` returns them.
        schema: the tool's `inputSchema`; only plain `type`s in it are obeyed.
    """
    properties = schema.get("properties")
    wanted = properties if isinstance(properties, dict) else {}
    return {key: _typed(value, _types(wanted.get(key))) for key, value in values.items()}


def parse_object(text: str) -> dict[str, Any]:
    """Return the JSON object in `text`.

    Raises:
        ArgumentsError: it is none.
    """
    try:
        value = _loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentsError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError):
        raise ArgumentsError("not JSON: a key comes twice, or it has NaN, Infinity or too many levels") from None
    if not isinstance(value, dict):
        raise ArgumentsError("not a JSON object")
    return value


def _typed(value: str, types: frozenset[str]) -> object:
    parsed = _parsed(value)
    if "string" not in types or isinstance(parsed, str):
        return parsed
    kind = "null" if parsed is None else _JSON_TYPES[type(parsed)]
    return parsed if kind in types or (kind == "integer" and "number" in types) else value


def _types(schema: object) -> frozenset[str]:
    """Return the types that a property may have, or none if that is not plain to see."""
    if not isinstance(schema, dict):
        return frozenset()
    kind = schema.get("type")
    if isinstance(kind, str):
        return frozenset({kind})
    if isinstance(kind, list):
        return frozenset(one for one in kind if isinstance(one, str))
    choices = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(choices, list):
        return frozenset()
    each = [_types(choice) for choice in choices]
    return frozenset().union(*each) if all(each) else frozenset()


def _parsed(value: str) -> object:
    try:
        return _loads(value)
    except (ValueError, RecursionError):
        return value


def _loads(text: str) -> object:
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_without_duplicates)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key comes twice")
    return members
