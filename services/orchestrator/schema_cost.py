"""How much work one value can make for a schema: a server's schema may multiply it at every step, on purpose or not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from services.runtime.i_json import MAX_NESTING

LARGEST_COST = 10_000
_LONGEST_COUNT = 100_000
"""Steps of counting, so that to count takes no longer than the work that is counted."""

_SAME_VALUE = (
    *("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
    *("dependentSchemas", "dependencies"),
)
"""Keywords whose subschemas meet the value itself; those of all others meet what the value holds."""
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_NAMED = frozenset({"dependentSchemas", "dependencies"})
_OTHER = object()
"""Stands for every name, or index, that no schema names."""

Schema = dict[str, Any]


class _CountlessError(Exception):
    """The cost is too large, has no bound, or depends on what is not in the document."""


class _Reach(NamedTuple):
    """What a schema that meets a value sets off."""

    cost: int
    """Schemas that meet the value itself."""
    steps: list[Counter[int]]
    """For each name or index that the value may hold: how often which schemas (by id) meet what is there."""


def cost_per_value(schema: Schema) -> int | None:
    """Return how many subschemas meet one value of an instance at most, wherever in the instance it is.

    References are followed. A schema may refer to itself, as trees do; but where two ways lead to the same value
    in each turn, the cost doubles with the depth of the instance, and is too large.

    Returns:
        None if it is over `LARGEST_COST`, has no bound, or depends on other documents.
    """
    try:
        return _Count(schema).most()
    except _CountlessError:
        return None


class _Count:
    """One schema's cost; every step of the counting is itself counted."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._anchors = _anchors(root)
        self._steps_left = _LONGEST_COUNT

    def most(self) -> int:
        reaches = self._reaches()
        root = id(self._root)
        costs = {schema: reach.cost for schema, reach in reaches.items()}
        most = costs[root]
        for _ in range(MAX_NESTING):
            # What meets a value one level further down, at the name where it is most.
            deeper = {schema: self._most_of(reach.steps, costs) for schema, reach in reaches.items()}
            if deeper == costs:
                break
            costs = deeper
            most = max(most, costs[root])
            if most > LARGEST_COST:
                raise _CountlessError
        return most

    def _most_of(self, steps: list[Counter[int]], costs: Mapping[int, int]) -> int:
        self._spend(1 + sum(map(len, steps)))
        return max((sum(times * costs[schema] for schema, times in step.items()) for step in steps), default=0)

    def _reaches(self) -> dict[int, _Reach]:
        """What each schema sets off, by id: the root, and every schema that meets what a value holds."""
        reaches: dict[int, _Reach] = {}
        waiting = [self._root]
        while waiting:
            schema = waiting.pop()
            if id(schema) in reaches:
                continue
            together = self._meeting_same_value(schema)
            cost = sum(1 + _slow_options(one) for one in together)
            if cost > LARGEST_COST:
                raise _CountlessError
            steps = []
            for held in (*self._held(map(_members, together)), *self._held(map(_elements, together))):
                waiting += held
                steps.append(Counter(map(id, held)))
            reaches[id(schema)] = _Reach(cost, steps)
        return reaches

    def _meeting_same_value(self, schema: Schema) -> list[Schema]:
        """The schema and all that meet its value with it, each as often as it does."""
        together = [schema]
        for one in together:  # and those that are added on the way
            self._spend(1)
            if len(together) > LARGEST_COST:
                raise _CountlessError
            # What was evaluated is found out by trying it once more.
            times = 2 if "unevaluatedProperties" in one or "unevaluatedItems" in one else 1
            for keyword in _SAME_VALUE:
                if keyword in _REFERENCES:
                    found = [self._target(one[keyword])] if keyword in one else []
                else:
                    value = one.get(keyword)
                    found = _schemas(value.values() if keyword in _NAMED and isinstance(value, dict) else value)
                together += found * times
        return together

    def _held(self, parts: Iterable["_Parts"]) -> Iterator[list[Schema]]:
        """For each name that any of the schemas names, and for all others: the schemas that meet what is there."""
        parts = list(parts)
        for name in {_OTHER, *(name for part in parts for name in part.named)}:
            self._spend(len(parts))
            held = [schema for part in parts for schema in (part.named.get(name, part.others), *part.always)]
            yield [schema for schema in held if isinstance(schema, dict)]

    def _target(self, reference: Any) -> Schema:
        """The schema that a reference within the document means."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _CountlessError
        fragment = unquote(reference[1:])
        target: Any = self._root
        try:
            if fragment and not fragment.startswith("/"):
                target = self._anchors[fragment]
            for part in fragment.split("/")[1:]:
                target = target[int(part)] if isinstance(target, list) else target[_unescape(part)]
        except (LookupError, TypeError, ValueError) as error:
            raise _CountlessError from error
        return target if isinstance(target, dict) else {}

    def _spend(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise _CountlessError


class _Parts(NamedTuple):
    """The subschemas that meet what a value holds."""

    named: Mapping[Any, Any]
    others: Any
    """For names that are not in `named`."""
    always: list[Any]


def _members(schema: Schema) -> _Parts:
    patterns = schema.get("patternProperties")
    return _Parts(
        named=_mapping(schema.get("properties")),
        others=schema.get("additionalProperties"),
        always=[
            *_mapping(patterns).values(),  # any of them may fit any name
            schema.get("propertyNames"),
            schema.get("unevaluatedProperties"),
        ],
    )


def _elements(schema: Schema) -> _Parts:
    items, first = schema.get("items"), schema.get("prefixItems")
    if isinstance(items, list):  # up to draft 2019-09
        items, first = schema.get("additionalItems"), items
    return _Parts(
        named=dict(enumerate(first)) if isinstance(first, list) else {},
        others=items,
        always=[schema.get("contains"), schema.get("unevaluatedItems")],
    )


def _slow_options(schema: Schema) -> int:
    """How many options of `enum` are compared one by one: texts alone, or integers alone, are looked up."""
    options = schema.get("enum")
    if not isinstance(options, list) or {type(option) for option in options} in ({str}, {int}):
        return 0
    return len(options)


def _schemas(value: Any) -> list[Schema]:
    candidates = value if isinstance(value, Iterable) and not isinstance(value, dict | str) else [value]
    return [schema for schema in candidates if isinstance(schema, dict)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _anchors(root: Schema) -> dict[str, Any]:
    """The document's anchors. One that stands there twice, or a document within the document, is not counted with."""
    identifier = "id" if "draft-04" in str(root.get("$schema")) else "$id"
    anchors: dict[str, Any] = {}
    waiting: list[Any] = list(root.values())
    for node in [root, *_objects(waiting)]:
        if node is not root and isinstance(node.get(identifier), str):
            raise _CountlessError
        for name in {node[keyword] for keyword in ("$anchor", "$dynamicAnchor") if isinstance(node.get(keyword), str)}:
            if name in anchors:
                raise _CountlessError
            anchors[name] = node
    return anchors


def _objects(waiting: list[Any]) -> Iterator[Schema]:
    """Yield every object in the values, however deep."""
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
