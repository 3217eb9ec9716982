"""A tool's input schema, compiled once: arguments are checked before the bus."""

import json
from typing import Any

import jsonschema_rs

from bus_schemas.errors import FieldError
from services.runtime.errors import InvalidArgumentsError

LARGEST_SCHEMA_BYTES = 256 * 1024
_MOST_ERRORS = 16


class ArgumentCheck:
    """Checks arguments against one `inputSchema`.

    The schema is the MCP server's word and may be hostile: patterns run on a linear-time engine, references to
    other documents are never followed, and one that is too large or does not compile is not enforced here (the
    server checks its arguments itself).
    """

    def __init__(self, schema: Any) -> None:
        self._validator = _compile(schema)

    def check(self, arguments: dict[str, Any]) -> None:
        """Raises InvalidArgumentsError, with a pointer into the query's body and the keyword for each error."""
        validator = self._validator
        if validator is None or validator.is_valid(arguments):
            return
        errors = []
        for error in validator.iter_errors(arguments):
            path = "".join(f"/{_escape(part)}" for part in error.instance_path)
            errors.append(FieldError(pointer=f"/arguments{path}", keyword=error.kind.name))
            if len(errors) == _MOST_ERRORS:
                break
        raise InvalidArgumentsError(errors=errors)


def _escape(part: str | int) -> str:
    return str(part)[:128].replace("~", "~0").replace("/", "~1")


def _compile(schema: Any) -> jsonschema_rs.Validator | None:
    if not isinstance(schema, dict):
        return None
    try:
        if len(json.dumps(schema)) > LARGEST_SCHEMA_BYTES:
            return None
        return jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return None
