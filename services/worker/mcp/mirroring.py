"""The headers that mirror a request's body, so that what stands between need not read it (2026-07-28, SEP-2243)."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which member of the params is mirrored as `Mcp-Name`."""

HeaderMap = Mapping[tuple[str, ...], str]
"""The path of a property in a tool's arguments → the name its value is mirrored under."""

_ANNOTATION: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_SAFE: Final = re.compile(r"[\x20-\x7e]*\Z")
_ENCODED: Final = re.compile(r"=\?base64\?.*\?=\Z")

_SCHEMA: Final = frozenset(
    {"items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties"}
    | {"not", "if", "then", "else", "contentSchema"}
)
_LISTS_OF_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS_OF_SCHEMAS: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


class _Named(msgspec.Struct):
    name: str | None = None
    uri: str | None = None


_named_decoder = msgspec.json.Decoder(_Named)


def mirrored_headers(method: str, params: bytes, header_maps: Mapping[str, HeaderMap]) -> dict[str, str]:
    """Return `Mcp-Method`, `Mcp-Name` and the `Mcp-Param-…` headers of a request; all names in lower case.

    Args:
        method: the request's.
        params: its params, a JSON object.
        header_maps: by tool, for the tools that have one.
    """
    headers = {"mcp-method": method}
    if (member := NAMED_BY.get(method)) is None:
        return headers
    name = getattr(_named_decoder.decode(params), member)
    if name is not None:
        headers["mcp-name"] = encode_header(name)
    if method == "tools/call" and (header_map := header_maps.get(name)):
        arguments = json.loads(params).get("arguments")
        for path, token in header_map.items():
            if (text := _text_at(arguments, path)) is not None:
                headers[f"mcp-param-{token.lower()}"] = encode_header(text)
    return headers


def encode_header(value: str) -> str:
    """Return `value` as a header can carry it: as it is if that is certain to survive, else in base64."""
    if _SAFE.match(value) and value == value.strip() and not _ENCODED.match(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


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


def _text_at(arguments: Any, path: tuple[str, ...]) -> str | None:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    if isinstance(arguments, bool):
        return "true" if arguments else "false"
    return str(arguments) if isinstance(arguments, str | int | float) else None
