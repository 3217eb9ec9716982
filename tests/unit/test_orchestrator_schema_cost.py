"""Schemas that multiply their own work are found out before they run; ordinary ones are not mistaken for them."""

import random
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue, TypeAdapter

from services.orchestrator.arguments import ArgumentCheck
from services.orchestrator.schema_cost import LARGEST_COST, cost_per_value
from services.runtime.errors import InvalidArgumentsError
from services.runtime.i_json import MAX_NESTING
from tests.support.schema_visits import most_visits

Schema = dict[str, Any]

NODE = {"$ref": "#/$defs/node"}
STEP = {"properties": {"a": NODE}}


def with_node(**node: Any) -> Schema:
    return {"$defs": {"node": node}, **NODE}


def chain(length: int, link: Any) -> Schema:
    """A schema whose every definition refers to the next as `link` says."""
    links = {f"c{index}": link({"$ref": f"#/$defs/c{index + 1}"}) for index in range(length)}
    return {"$defs": {**links, f"c{length}": {"type": "object"}}, "$ref": "#/$defs/c0"}


COSTLY: dict[str, Any] = {
    "two branches": with_node(anyOf=[{**STEP, "required": ["z"]}, {**STEP, "type": "object"}]),
    "two branches of oneOf": with_node(oneOf=[STEP, STEP]),
    "beside a branch": with_node(**STEP, allOf=[STEP]),
    "if and then": with_node(**{"if": STEP, "then": STEP}),
    "not": with_node(**STEP, **{"not": STEP}),
    "two names in one": with_node(properties={"a": NODE}, patternProperties={"^a": NODE}),
    "items and contains": with_node(items=NODE, contains=NODE),
    "dependent": with_node(**STEP, dependentSchemas={"a": STEP}),
    "dependencies": with_node(**STEP, dependencies={"a": STEP}),
    "by the root": {"anyOf": [{"properties": {"a": {"$ref": "#"}}}] * 2},
    "by an anchor": {
        "$defs": {"n": {"$anchor": "n", "anyOf": [{"items": {"$ref": "#n"}}] * 2}},
        "$ref": "#n",
    },
    "by a dynamic reference": {"$dynamicAnchor": "n", "anyOf": [{"items": {"$dynamicRef": "#n"}}] * 2},
    "by a recursive reference": {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$recursiveAnchor": True,
        "anyOf": [{"items": {"$recursiveRef": "#"}}] * 2,
    },
    "through an escaped pointer": {
        "$defs": {"a/b~c%": {"anyOf": [{"items": {"$ref": "#/$defs/a~1b~0c%25"}}] * 2}},
        "$ref": "#/$defs/a~1b~0c%25",
    },
    "through a list": {"allOf": [{"anyOf": [{"items": {"$ref": "#/allOf/0"}}] * 2}]},
    "in turns of two": {
        "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"allOf": [{"items": {"$ref": "#/$defs/a"}}] * 2}},
        "$ref": "#/$defs/a",
    },
    "old lists of items": with_node(allOf=[{"items": [NODE]}, {"items": [NODE]}]),
    "evaluated twice": with_node(anyOf=[STEP], unevaluatedProperties=False),
    "polynomial": {
        "$defs": {
            f"n{index}": {"allOf": [{"items": {"$ref": f"#/$defs/n{next_one}"}} for next_one in (index, index + 1)]}
            for index in range(5)
        }
        | {"n5": {}},
        "$ref": "#/$defs/n0",
    },
    "doubled in place": chain(30, lambda link: {"allOf": [link, link]}),
    "doubled at every step": chain(30, lambda link: {"allOf": [{"properties": {"a": link}}] * 2}),
    "trebled by patterns": chain(20, lambda link: {"patternProperties": {".": link, "a": link, "^a": link}}),
    "never ending": {"$ref": "#"},
    "a list of slow options": {"enum": [index / 2 for index in range(LARGEST_COST + 1)]},
    "another document": {"$ref": "http://json-schema.org/draft-07/schema#"},
    "a document within": {"properties": {"a": {"$id": "http://x.example/a", "items": {"$ref": "#/$defs/b"}}}},
    "a document within, in draft 4": {"$schema": "http://json-schema.org/draft-04/schema#", "not": {"id": "urn:x"}},
    "an anchor in two places": {"const": {"$anchor": "n"}, "$defs": {"n": {"$anchor": "n"}}, "$ref": "#n"},
    "nowhere": {"$ref": "#/nowhere"},
    "too long to count": {"allOf": [{"properties": {f"p{index}": {}}} for index in range(1000)]},
}


@pytest.mark.parametrize("schema", COSTLY.values(), ids=COSTLY)
def test_a_schema_that_multiplies_its_work_is_found_out_and_not_enforced(schema: Schema) -> None:
    assert cost_per_value(schema) is None
    check = ArgumentCheck({**schema, "required": ["never there"]})
    assert not check.is_enforced
    check.check({})


class Tree(BaseModel):
    """A tree by a list, by a mapping and by two names."""

    name: str
    left: Optional["Tree"] = None  # as many write it
    right: "Tree | None" = None
    children: list["Tree"] = []
    by_name: dict[str, "Tree"] = {}


class Not(BaseModel):
    """A condition that does not hold."""

    kind: Literal["not"] = "not"
    negated: "Condition"


class Both(BaseModel):
    """Two conditions."""

    kind: Literal["both"] = "both"
    conditions: list["Condition"]


class Equal(BaseModel):
    """A leaf."""

    kind: Literal["equal"] = "equal"
    field: str
    value: JsonValue


Condition = Annotated[Not | Both | Equal, Field(discriminator="kind")]
Not.model_rebuild()
Both.model_rebuild()


class Address(BaseModel):
    """A part of others."""

    street: str = Field(max_length=100)
    country: Literal["at", "ch", "de"]
    lines: tuple[str, str] | None = None


class Person(BaseModel):
    """Uses one model in many places."""

    home: Address
    work: Address | None = None
    others: dict[str, Address | list[Address] | None] = {}
    tags: set[str | int | float | bool | None] = set()


class Company(BaseModel):
    """Nests models."""

    people: list[Person]
    boss: Person | None


ZOD_JSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$ref": "#/$defs/__schema0",
    "$defs": {
        "__schema0": {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                {"type": "array", "items": {"$ref": "#/$defs/__schema0"}},
                {
                    "type": "object",
                    "propertyNames": {"type": "string"},
                    "additionalProperties": {"$ref": "#/$defs/__schema0"},
                },
            ]
        }
    },
}
WIDE = {"properties": {f"field{index}": {"anyOf": [{"type": "string"}, {"type": "null"}]} for index in range(1000)}}
ORDINARY: dict[str, Any] = {
    **{model.__name__: model.model_json_schema() for model in (Tree, Not, Both, Equal, Company)},
    "union": TypeAdapter(Condition).json_schema(),
    "zod's JSON": ZOD_JSON,
    "old tree": {
        "definitions": {"n": {"properties": {"next": {"anyOf": [{"$ref": "#/definitions/n"}, {"type": "null"}]}}}},
        "$ref": "#/definitions/n",
    },
    "by the root": {"properties": {"children": {"items": {"$ref": "#"}}}},
    "wide": WIDE,
    "many options": {"properties": {"zone": {"enum": [f"Zone/{index}" for index in range(10_000)]}}},
    "an id": {"$id": "https://x.example/schema", "properties": {"id": {"const": {"$id": 1, "id": "x"}}}},
    "anchors": {"$defs": {"n": {"$anchor": "n", "properties": {"a": {"$ref": "#n"}}}}, "$ref": "#n"},
}


@pytest.mark.parametrize("schema", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_schema_is_enforced(schema: Schema) -> None:
    cost = cost_per_value(schema)
    assert cost is not None
    assert cost < 100
    assert ArgumentCheck(schema).is_enforced
    check = ArgumentCheck({**schema, "required": ["never there"]})
    with pytest.raises(InvalidArgumentsError) as error:
        check.check({})
    assert {wrong.pointer for wrong in error.value.errors} == {"/arguments"}


def test_the_cost_is_that_of_the_value_which_most_schemas_meet() -> None:
    assert cost_per_value({}) == 1
    assert cost_per_value({"allOf": [{}, {"anyOf": [{}, True]}]}) == 4
    assert cost_per_value({"properties": {"a": {"allOf": [{}, {}]}, "b": {}}}) == 3
    assert cost_per_value({"allOf": [{"properties": {"a": {}}}, {"patternProperties": {"^b": {}}}]}) == 3
    assert cost_per_value({"enum": ["a", None]}) == 3
    assert cost_per_value({"prefixItems": [{}, {"not": {}}], "items": {"not": {"not": {}}}}) == 3


NAMES = st.sampled_from("abc")
REFERENCES = st.sampled_from([{"$ref": f"#/$defs/{name}"} for name in "xyz"])
LEAVES: st.SearchStrategy[Any] = st.one_of(REFERENCES, st.just({}), st.just({"type": "object"}), st.booleans())


def _combined(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(schemas, min_size=1, max_size=3)
    return st.one_of(
        st.sampled_from(["allOf", "anyOf", "oneOf", "prefixItems"]).flatmap(
            lambda keyword: several.map(lambda found: {keyword: found})
        ),
        st.dictionaries(
            st.sampled_from(["not", "if", "then", "items", "contains", "additionalProperties", "propertyNames"]),
            schemas,
            min_size=1,
            max_size=3,
        ),
        st.dictionaries(NAMES, schemas, min_size=1, max_size=3).map(lambda found: {"properties": found}),
        st.dictionaries(NAMES, schemas, min_size=1, max_size=2).map(lambda found: {"patternProperties": found}),
        st.dictionaries(NAMES, schemas, min_size=1, max_size=2).map(lambda found: {"dependentSchemas": found}),
    )


SCHEMAS = st.recursive(LEAVES, _combined, max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> Schema:
    return {"$defs": {name: draw(SCHEMAS) for name in "xyz"}, "$ref": "#/$defs/x"}


@settings(max_examples=300)
@given(documents(), st.randoms(use_true_random=False), st.integers(1, MAX_NESTING - 1))
def test_no_value_of_any_instance_costs_more_than_was_counted(
    schema: Schema, chance: random.Random, depth: int
) -> None:
    cost = cost_per_value(schema)
    if cost is not None:
        instance: Any = 1
        for _ in range(depth):
            names = chance.sample("abc", chance.randint(1, 3))
            # Branches are short, so that the instance is deep and still small.
            sides = {name: {name: 1} for name in names[1:]}
            instance = chance.choice([{names[0]: instance, **sides}, [instance], [1, instance]])
        assert most_visits(schema, instance) <= cost
