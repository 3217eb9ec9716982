"""A reference evaluator that tries everything and only counts: how many schemas meet each value of an instance."""

from collections import Counter
from collections.abc import Iterator
from typing import Any


def most_visits(root: dict[str, Any], instance: Any) -> int:
    """Return the most schemas that meet one value of `instance`; references are `#/$defs/<name>`."""
    visits: Counter[tuple[str | int, ...]] = Counter()
    waiting: list[tuple[Any, Any, tuple[str | int, ...]]] = [(root, instance, ())]
    while waiting:
        schema, value, place = waiting.pop()
        if isinstance(schema, dict):
            visits[place] += 1
            waiting += [(one, value, place) for one in _in_place(root, schema)]
            waiting += [(one, value[name], (*place, name)) for one, name in _below(schema, value)]
    return max(visits.values())


def _in_place(root: dict[str, Any], schema: dict[str, Any]) -> Iterator[Any]:
    if "$ref" in schema:
        yield root["$defs"][schema["$ref"].rpartition("/")[2]]
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from schema.get(keyword, ())
    for keyword in ("not", "if", "then"):
        if keyword in schema:
            yield schema[keyword]
    yield from schema.get("dependentSchemas", {}).values()


def _below(schema: dict[str, Any], value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for name in value:
            named = schema.get("properties", {})
            patterns = schema.get("patternProperties", {})
            fitting = [patterns[pattern] for pattern in patterns if pattern in name]
            if name in named:
                yield named[name], name
            for one in fitting:
                yield one, name
            if name not in named and not fitting:
                yield schema.get("additionalProperties"), name
    elif isinstance(value, list):
        first = schema.get("prefixItems", [])
        for index in range(len(value)):
            yield (first[index] if index < len(first) else schema.get("items")), index
            yield schema.get("contains"), index
