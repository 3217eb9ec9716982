"""Headers mirror a request's body as SEP-2243 wants it; the official SDK reads them back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map

from services.runtime.mirrored_headers import encode_header, header_map
from services.worker.mcp.mirroring import mirrored_headers


@given(st.text())
def test_any_value_is_read_back_by_the_sdk(value: str) -> None:
    encoded = encode_header(value)
    assert encoded.isascii()
    assert encoded == encoded.strip()
    assert decode_header_value(encoded) == value


def test_the_method_and_the_name_are_mirrored() -> None:
    assert mirrored_headers("tools/list", b"{}", {}) == {"mcp-method": "tools/list"}
    assert mirrored_headers("tools/call", b'{"name":"a"}', {})["mcp-name"] == "a"
    assert mirrored_headers("prompts/get", b'{"name":"b"}', {})["mcp-name"] == "b"
    assert mirrored_headers("resources/read", b'{"uri":"c:d"}', {})["mcp-name"] == "c:d"


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "limits": {"type": "object", "properties": {"rows": {"type": "integer", "x-mcp-header": "Rows"}}},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "other": {"type": "string", "default": {"x-mcp-header": "Data"}},
    },
}


@pytest.mark.parametrize(
    "arguments",
    [
        '{"region":"eu","limits":{"rows":12345678901234567890123},"dry":true,"other":"x"}',
        '{"region":"  edge","limits":{"rows":null},"dry":false}',
        '{"limits":7}',
        '{"region":{"x":1}}',
    ],
)
def test_annotated_arguments_are_mirrored_as_the_sdk_does(arguments: str) -> None:
    found = mirrored_headers(
        "tools/call", f'{{"name":"t","arguments":{arguments}}}'.encode(), {"t": header_map(SCHEMA)}
    )
    expected = mcp_param_headers(x_mcp_header_map(SCHEMA), json.loads(arguments))
    assert {name: value for name, value in found.items() if name.startswith("mcp-param-")} == {
        name.lower(): value for name, value in expected.items()
    }


def prop(**schema: Any) -> dict[str, Any]:
    return {"properties": {"p": schema}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "x-mcp-header": "Root"},
        prop(type="number", **{"x-mcp-header": "N"}),
        prop(**{"x-mcp-header": "NoType"}),
        prop(type="string", **{"x-mcp-header": "has space"}),
        prop(type="string", **{"x-mcp-header": ""}),
        prop(type="string", **{"x-mcp-header": 7}),
        prop(type="array", items={"type": "string", "x-mcp-header": "Item"}),
        {"anyOf": [prop(type="string", **{"x-mcp-header": "Any"})]},
        {"$defs": {"d": {"type": "string", "x-mcp-header": "Def"}}},
        {"properties": {n: {"type": "string", "x-mcp-header": h} for n, h in [("a", "Same"), ("b", "SAME")]}},
    ],
)
def test_an_annotation_that_the_sdk_finds_wrong_is_refused(schema: dict[str, Any]) -> None:
    assert find_invalid_x_mcp_header(schema)
    with pytest.raises(ValueError, match="x-mcp-header"):
        header_map(schema)


def test_a_schema_without_annotations_mirrors_nothing() -> None:
    schemas: list[Any] = [{}, None, True, {"properties": {"a": True}}, {"properties": []}]
    for schema in schemas:
        assert header_map(schema) == {}
