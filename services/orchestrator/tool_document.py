"""The OpenAPI document of one server's tools: their definitions, as whoever wants plain HTTP reads them (pure)."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from bus_schemas.errors import Problem
from bus_schemas.workers import Definition
from services.orchestrator.openapi import IDEMPOTENCY_PARAMETER
from services.runtime.openapi import REFERENCE, define
from services.runtime.problems import CONTENT_TYPE

Document = dict[str, Any]

_DEEPEST: Final = 64
_NOT_OF_KEYS: Final = re.compile(r"[^A-Za-z0-9._-]")
_ANYTHING: Final[Document] = {}
_ANY_OBJECT: Final[Document] = {"type": "object"}
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""Keywords whose members are schemas by names that are no keywords."""
_DATA: Final = frozenset({"const", "default", "enum", "example", "examples", "required", "dependentRequired", "type"})
_OF_BASES: Final = frozenset({"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef"})
"""What names a schema otherwise than by its place, which changes here."""
TIMEOUT_PARAMETER: Final[Document] = {
    "name": "timeout_ms",
    "in": "query",
    "required": False,
    "description": "How long the caller waits, in milliseconds.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 300_000, "default": 30_000},
}
_CONTENT: Final[Document] = {
    "type": "array",
    "description": "Content blocks of MCP.",
    "items": {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
}


class UnmovableSchemaError(Exception):
    """A schema that would mean something else inside of the document."""


def tool_document(server: str, version: str, tools: Mapping[str, Definition]) -> Document:
    """Return the document.

    Args:
        server: whose tools they are.
        version: the server's.
        tools: as far as the caller may use them, by name.
    """
    schemas: Document = {}
    document: Document = {
        "openapi": "3.1.0",
        "info": {"title": server, "version": version},
        "servers": [{"url": f"/servers/{server}"}],
        "security": [{"key": []}],
        "paths": {
            f"/tools/{quote(name, safe='')}": {"post": _operation(name, tools[name], schemas)} for name in sorted(tools)
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "Problem": {
                    "description": "Why there is no result (RFC 9457); of a tool that says that it failed with its "
                    "`content`.",
                    "content": {CONTENT_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
                }
            },
        },
    }
    define(document, Problem, "serialization")
    return document


def _operation(name: str, definition: Definition, schemas: Document) -> Document:
    output = definition.get("outputSchema")
    given = _CONTENT if output is None else _placed(schemas, f"{name}.output", output, _ANYTHING)
    arguments = _placed(schemas, f"{name}.input", definition.get("inputSchema"), _ANY_OBJECT)
    operation: Document = {
        "operationId": name,
        "parameters": [TIMEOUT_PARAMETER, IDEMPOTENCY_PARAMETER],
        "requestBody": {"required": True, "content": {"application/json": {"schema": arguments}}},
        "responses": {
            "200": {"description": "What the tool gives.", "content": {"application/json": {"schema": given}}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    for member, told in (("title", "summary"), ("description", "description")):
        if isinstance(text := definition.get(member), str):
            operation[told] = text
    return operation


def _placed(schemas: Document, name: str, schema: Any, otherwise: Document) -> Document:
    """Put a schema among the document's, and return a reference to it; what cannot be moved is not told."""
    key = _key(name, schemas)
    try:
        moved = _moved(schema, f"#/components/schemas/{key}", 0)
    except UnmovableSchemaError:
        return otherwise
    schemas[key] = moved
    return {"$ref": f"#/components/schemas/{key}"}


def _key(name: str, schemas: Document) -> str:
    plain = _NOT_OF_KEYS.sub("_", name)
    key, number = plain, 2
    while key in schemas:
        key, number = f"{plain}_{number}", number + 1
    return key


def _moved(schema: Any, place: str, depth: int) -> Any:
    """Return a schema whose references into itself hold at `place`, too.

    Raises:
        UnmovableSchemaError: it refers to something else, which nobody is to fetch, or is no schema.
    """
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict) or depth > _DEEPEST or not _OF_BASES.isdisjoint(schema):
        raise UnmovableSchemaError
    return {name: _moved_member(name, value, place, depth + 1) for name, value in schema.items() if name != "$schema"}


def _moved_member(name: str, value: Any, place: str, depth: int) -> Any:
    if name == "$ref":
        if value != "#" and not (isinstance(value, str) and value.startswith("#/")):
            raise UnmovableSchemaError
        return place + value[1:]
    if name in _MAPS and isinstance(value, dict):
        return {key: _moved(one, place, depth) for key, one in value.items()}
    if name in _DATA:
        return value
    if isinstance(value, dict):
        return _moved(value, place, depth)
    if isinstance(value, list):
        return [_moved(one, place, depth) if isinstance(one, dict) else one for one in value]
    return value
