"""Arguments are checked against the server's own schema, which may be hostile."""

import socket
import threading
from typing import Any

import pytest

from services.orchestrator.arguments import LARGEST_CHECK, LARGEST_LISTING, LARGEST_SCHEMA_BYTES, ArgumentCheck
from services.runtime.errors import InvalidArgumentsError

_SECRET = "value-that-stays-ours"


def _wrong(schema: Any, arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the arguments, as (pointer, keyword); empty if nothing is."""
    try:
        ArgumentCheck(schema).check(arguments)
    except InvalidArgumentsError as error:
        return [(wrong.pointer, wrong.keyword) for wrong in error.errors]
    return []


def test_each_error_has_a_pointer_into_the_body_and_the_keyword_of_its_rule() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1},
            "list": {"type": "array", "items": {"enum": ["a", "b"]}},
            "a/b~c": {"type": "string", "maxLength": 2},
            "choice": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["n"],
        "additionalProperties": False,
    }
    assert _wrong(schema, {"n": 1, "list": ["a"]}) == []
    assert _wrong(schema, {}) == [("/arguments", "required")]
    assert _wrong(schema, {"n": 0}) == [("/arguments/n", "minimum")]
    assert _wrong(schema, {"n": "1"}) == [("/arguments/n", "type")]
    assert _wrong(schema, {"n": 1, "x": 1}) == [("/arguments", "additionalProperties")]
    assert _wrong(schema, {"n": 1, "list": ["a", "c"]}) == [("/arguments/list/1", "enum")]
    assert _wrong(schema, {"n": 1, "a/b~c": "long"}) == [("/arguments/a~1b~0c", "maxLength")]
    assert _wrong(schema, {"n": 1, "choice": 5}) == [("/arguments/choice", "oneOf")]


def test_not_more_than_sixteen_errors_are_told() -> None:
    schema = {"properties": {"l": {"items": {"type": "string"}}}}
    assert _wrong(schema, {"l": [1] * 1000}) == [(f"/arguments/l/{index}", "type") for index in range(16)]


def test_where_there_may_be_too_many_errors_none_is_listed() -> None:
    # The library builds all of them first: a few hundred thousand take it many seconds.
    schema = {"properties": {"l": {"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}
    with pytest.raises(InvalidArgumentsError) as error:
        ArgumentCheck(schema).check({"l": [1] * LARGEST_LISTING})
    assert list(error.value.errors) == []


def test_arguments_too_many_for_a_costly_schema_are_left_to_the_server() -> None:
    schema = {"properties": {"l": {"items": {"allOf": [{"type": "string"}] * 100}}}}
    assert ("/arguments/l/0", "type") in _wrong(schema, {"l": [1]})
    ArgumentCheck(schema).check({"l": [1] * (LARGEST_CHECK // 100)})


def test_what_is_told_holds_no_value_of_the_caller_nor_of_the_schema() -> None:
    schema = {"properties": {"n": {"const": f"const-{_SECRET}", "pattern": f"^{_SECRET}$", "type": "string"}}}
    told = str(_wrong(schema, {"n": f"argument-{_SECRET}"}))
    assert "/arguments/n" in told
    assert _SECRET not in told


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "^(a*)*$", "(.*a){20}$", "^([a-zA-Z]+)*$"])
def test_a_pattern_made_to_backtrack_for_ever_is_decided(pattern: str) -> None:
    # A backtracking engine would need longer than the universe has for this text.
    wrong = _wrong({"properties": {"x": {"pattern": pattern}}}, {"x": "a" * 10_000 + "!"})
    assert wrong in ([], [("/arguments/x", "pattern")])


def test_schemas_of_other_places_are_never_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        asked = threading.Event()

        def accept() -> None:
            try:
                listener.accept()
            except OSError:
                return
            asked.set()

        waiting = threading.Thread(target=accept, daemon=True)
        waiting.start()
        for schema in (
            {"properties": {"x": {"$ref": url}}},
            {"$schema": url},
            {"$id": url, "$ref": "other.json"},
            {"properties": {"x": {"$dynamicRef": url}}},
            {"properties": {"x": {"$ref": "file:///etc/passwd"}}},
        ):
            assert _wrong(schema, {"x": 1}) == []
        assert not asked.is_set()
        listener.shutdown(socket.SHUT_RDWR)
        waiting.join(timeout=5)
        assert not asked.is_set()


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        "x",
        True,
        {"type": "nonsense"},
        {"properties": 5},
        {"properties": {"x": {"pattern": "("}}},
        {"properties": {"x": {"pattern": "(?=lookahead)"}}},
        {"properties": {"x": {"pattern": "(back)\\1"}}},
        {"properties": {"x": {"pattern": "(a{1000}){1000}"}}},
        {"properties": {"x": {"$ref": "#/nowhere"}}},
        {"properties": {"x": {"maximum": float("nan")}}},
        {"required": ["never"], "description": "x" * LARGEST_SCHEMA_BYTES},
    ],
)
def test_a_schema_that_does_not_compile_or_is_too_large_is_not_enforced(schema: Any) -> None:
    assert _wrong(schema, {"x": 10**6}) == []
    assert _wrong(schema, {"x": "text"}) == []


def test_a_schema_just_below_the_limit_is_enforced() -> None:
    schema = {"required": ["always"], "description": "x" * (LARGEST_SCHEMA_BYTES - 100)}
    assert _wrong(schema, {}) == [("/arguments", "required")]


def test_numbers_beyond_64_bits_are_checked_too() -> None:
    schema = {"properties": {"x": {"type": "integer", "maximum": 10**30}}}
    assert _wrong(schema, {"x": 10**29}) == []
    assert _wrong(schema, {"x": 10**31}) == [("/arguments/x", "maximum")]


def test_schemas_that_refer_to_themselves_come_to_an_end() -> None:
    assert _wrong({"$ref": "#"}, {"x": {}}) == []
    assert _wrong({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, {}) == []
