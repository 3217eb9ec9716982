"""The headers of MCP's streamable HTTP that repeat what the body says, as both our sides know them (SEP-2243)."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which member of the params is mirrored as `Mcp-Name`."""

HeaderMap = Mapping[tuple[str, ...], str]
"""The path of a property in a tool's arguments → the name its value is mirrored under."""

_ANNOTATION: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_SAFE: Final = re.compile(r"[\x20-\x7e]*\Z")
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=\Z")

_SCHEMA: Final = frozenset(
    {"items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties"}
    | {"not", "if", "then", "else", "contentSchema"}
)
_LISTS_OF_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS_OF_SCHEMAS: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def encode_header(value: str) -> str:
    """Return `value` as a header can carry it: as it is if that is certain to survive, else in base64."""
    if _SAFE.match(value) and value == value.strip() and not _ENCODED.match(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode_header(value: str) -> str | None:
    """Return what a header's value stands for; None: its base64 is malformed."""
    found = _ENCODED.match(value)
    if found is None:
        return value
    try:
        decoded = base64.b64decode(found[1], validate=True)
        return decoded.decode() if base64.b64encode(decoded).decode() == found[1] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def header_map(input_schema: Any) -> HeaderMap:
    """Return which arguments of a tool are mirrored.

    Raises:
        ValueError: an annotation is not allowed where it stands; such a tool must not be offered over HTTP.
    """
    found: dict[tuple[str, ...], str] = {}
    for path, schema in _positions(input_schema):
        if _ANNOTATION not in schema:
            continue
        token = schema[_ANNOTATION]
        if not path or not isinstance(token, str) or not _TOKEN.match(token):
            raise ValueError("x-mcp-header is misplaced or no header name")
        if schema.get("type") not in ("string", "integer", "boolean"):
            raise ValueError("x-mcp-header on a property that is no string, integer or boolean")
        if token.lower() in {other.lower() for other in found.values()}:
            raise ValueError("x-mcp-header names the same header twice")
        found[path] = token
    return found


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Yield every schema in `root`, with its path if only `properties` lead to it."""
    # A stack of our own bears any depth.
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, schema = stack.pop()
        if not isinstance(schema, dict):
            continue
        yield path, schema
        for keyword, value in schema.items():
            if keyword in _SCHEMA:
                stack.append((None, value))
            elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
                stack += [(None, inner) for inner in value]
            elif keyword in _MAPS_OF_SCHEMAS and isinstance(value, dict):
                stack += [(None, inner) for inner in value.values()]
            elif keyword == "properties" and isinstance(value, dict):
                stack += [(None if path is None else (*path, name), inner) for name, inner in value.items()]


def text_at(arguments: Any, path: tuple[str, ...]) -> str | None:
    """Return how the value at `path` is repeated; None: it is not."""
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    if isinstance(arguments, bool):
        return "true" if arguments else "false"
    return str(arguments) if isinstance(arguments, str | int | float) else None
