"""What is wrong with a field: pydantic's words → a JSON pointer and JSON Schema's keyword."""

from collections.abc import Iterable, Mapping
from typing import Any

from bus_schemas.errors import FieldError

_KEYWORDS = {
    "extra_forbidden": "additionalProperties",
    "missing": "required",
    "enum": "enum",
    "literal_error": "enum",
    "greater_than": "exclusiveMinimum",
    "greater_than_equal": "minimum",
    "less_than": "exclusiveMaximum",
    "less_than_equal": "maximum",
    "string_too_long": "maxLength",
    "string_too_short": "minLength",
    "string_pattern_mismatch": "pattern",
    "value_error": "pattern",
}
"""pydantic's names of what is wrong → JSON Schema's; its many ways to say that the type is wrong share their ends."""
_WRONG_TYPE = ("_type", "_parsing", "_parsing_size", "_from_float")


def field_errors(found: Iterable[Mapping[str, Any]], *, skip: int = 0) -> list[FieldError]:
    """Return what pydantic found; `skip` leaves out the first parts of each place (FastAPI's `query`, `path`, …)."""
    return [FieldError(pointer=pointer(wrong["loc"][skip:]), keyword=_keyword(wrong["type"])) for wrong in found]


def pointer(parts: Iterable[str | int]) -> str:
    """Return the JSON pointer (RFC 6901) to a place, with at most 128 characters of each name."""
    return "".join("/" + str(part)[:128].replace("~", "~0").replace("/", "~1") for part in parts)


def _keyword(found: str) -> str:
    if found.endswith(_WRONG_TYPE):
        return "type"
    return _KEYWORDS.get(found, found)  # our own validators raise the keyword itself
