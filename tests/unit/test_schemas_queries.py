"""The query: what a caller may send, and that the published JSON Schema says the same."""

from typing import Any

import pytest
from jsonschema_rs import validator_for
from pydantic import ValidationError

from bus_schemas.queries import Query

SCHEMA = validator_for(Query.model_json_schema())

ACCEPTED: dict[str, dict[str, Any]] = {
    "a tool": {"tool": "t"},
    "a resource": {"resource": "a://b"},
    "a prompt": {"prompt": "p", "arguments": {"a": "b"}},
    "everything": {
        "server": "database_mcp",
        "tool": "t",
        "arguments": {"a": [1, None]},
        "timeout_ms": 1,
        "cache": "refresh",
        "input_responses": {"a": {}},
        "request_state": "s",
    },
    "the longest timeout": {"tool": "t", "timeout_ms": 300_000},
}
REFUSED: dict[str, Any] = {
    "nothing": {},
    "no object": ["tool"],
    "a tool and a resource": {"tool": "t", "resource": "a://b"},
    "a tool and a prompt": {"tool": "t", "prompt": "p"},
    "an unknown field": {"tool": "t", "timeout": 5},
    "an empty tool": {"tool": ""},
    "a tool that is a number": {"tool": 5},
    "a bad server": {"tool": "t", "server": "a.b"},
    "a server with two underscores": {"tool": "t", "server": "a__b"},
    "no time": {"tool": "t", "timeout_ms": 0},
    "too much time": {"tool": "t", "timeout_ms": 300_001},
    "time as text": {"tool": "t", "timeout_ms": "5"},
    "time as a boolean": {"tool": "t", "timeout_ms": True},
    "half a millisecond": {"tool": "t", "timeout_ms": 0.5},
    "an unknown cache mode": {"tool": "t", "cache": "never"},
    "arguments as a list": {"tool": "t", "arguments": []},
    "arguments that are null": {"tool": "t", "arguments": None},
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_good_query_is_accepted_and_fits_the_published_schema(body: dict[str, Any]) -> None:
    assert Query.model_validate(body).model_dump(mode="json", exclude_unset=True) == body
    SCHEMA.validate(body)


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_query_is_refused_by_the_model_and_by_the_published_schema(body: Any) -> None:
    with pytest.raises(ValidationError):
        Query.model_validate(body)
    assert not SCHEMA.is_valid(body)


def test_a_resource_takes_no_arguments() -> None:
    with pytest.raises(ValidationError, match="a resource takes no arguments"):
        Query.model_validate({"resource": "a://b", "arguments": {"a": 1}})


def test_what_is_left_out_has_the_specifications_default() -> None:
    query = Query(tool="t")
    assert (query.server, query.arguments, query.timeout_ms, query.cache) == (None, {}, 30_000, "default")


@pytest.mark.parametrize(
    ("query", "target"),
    [(Query(tool="t"), "t"), (Query(prompt="p"), "p"), (Query(resource="a://b"), "a://b")],
)
def test_the_target_is_what_is_asked_for(query: Query, target: str) -> None:
    assert query.target == target
