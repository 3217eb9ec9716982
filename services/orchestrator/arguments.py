"""A tool's input schema, compiled once: arguments are checked before the bus."""

import json
from typing import Any

import jsonschema_rs

from bus_schemas.errors import FieldError
from services.orchestrator.schema_cost import cost_per_value
from services.runtime.errors import InvalidArgumentsError
from services.runtime.field_errors import pointer

LARGEST_SCHEMA_BYTES = 256 * 1024
LARGEST_CHECK = 2_000_000
"""Values times subschemas. The check holds up everything else in the process; this many take it some 50 ms."""
LARGEST_LISTING = 20_000
"""The same for listing what is wrong: the library builds every error there is before it gives us the first."""
_MOST_ERRORS = 16


class ArgumentCheck:
    """Checks arguments against one `inputSchema`.

    The schema is the MCP server's word and may be hostile: patterns run on a linear-time engine, references to
    other documents are never followed, and one that is too large, too costly or does not compile is not enforced here
    (the server checks its arguments itself).
    """

    def __init__(self, schema: Any) -> None:
        self._cost_per_value = 0
        self._validator = self._compile(schema)

    @property
    def is_enforced(self) -> bool:
        return self._validator is not None

    def check(self, arguments: dict[str, Any]) -> None:
        """Check the arguments.

        Raises:
            InvalidArgumentsError: with a pointer into the query's body and the keyword for each of the first errors;
                with none where there may be too many to list.
        """
        if self._validator is None:
            return
        cost = self._cost_per_value * _count_values(arguments)
        if cost > LARGEST_CHECK or self._validator.is_valid(arguments):
            return
        raise InvalidArgumentsError(errors=_errors(self._validator, arguments) if cost <= LARGEST_LISTING else [])

    def _compile(self, schema: Any) -> jsonschema_rs.Validator | None:
        if not isinstance(schema, dict):
            return None
        try:
            if len(json.dumps(schema)) > LARGEST_SCHEMA_BYTES or (cost := cost_per_value(schema)) is None:
                return None
            self._cost_per_value = cost
            return jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
            return None


def _count_values(arguments: dict[str, Any]) -> int:
    """How many values there are in the arguments, themselves included."""
    count = 0
    waiting: list[Any] = [arguments]
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return count


def _errors(validator: jsonschema_rs.Validator, arguments: dict[str, Any]) -> list[FieldError]:
    errors = []
    for error in validator.iter_errors(arguments):
        errors.append(FieldError(pointer=pointer(["arguments", *error.instance_path]), keyword=error.kind.name))
        if len(errors) == _MOST_ERRORS:
            break
    return errors
