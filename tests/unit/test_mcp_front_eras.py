"""What a server of one era answers, as a client of the other knows it; headers that say what the body says."""

import json
from typing import Any

import pytest

from services.orchestrator.mcp.eras import LEGACY, MODERN
from services.orchestrator.mcp.headers import check_modern, check_params
from services.orchestrator.mcp.jsonrpc import (
    RpcError,
    RpcNotification,
    RpcRequest,
    RpcResponse,
    error_message,
    read_message,
    with_members,
)

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
GOOD = {"mcp-protocol-version": ["2026-07-28"], "mcp-method": ["tools/call"], "mcp-name": ["t"]}


def request(method: str = "tools/call", **params: Any) -> RpcRequest:
    message = read_message(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
    assert isinstance(message, RpcRequest)
    return message


def code_of(asked: RpcRequest, headers: dict[str, list[str]]) -> int | None:
    try:
        check_modern(asked, lambda name: headers.get(name, []))
    except RpcError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (b'{"content":[]}', b'{"resultType":"complete","content":[]}'),
        (b'{"resultType":"input_required","x":1}', b'{"resultType":"input_required","x":1}'),
        (b"{}", b'{"resultType":"complete"}'),
        (b"{ }", b'{"resultType":"complete" }'),
    ],
)
def test_a_result_of_before_says_that_it_is_complete(result: bytes, told: bytes) -> None:
    assert MODERN.result("tools/call", result) == told


def test_what_is_read_says_how_long_it_may_be_kept() -> None:
    assert json.loads(MODERN.result("resources/read", b'{"contents":[],"ttlMs":5}')) == {
        "resultType": "complete",
        "cacheScope": "private",
        "contents": [],
        "ttlMs": 5,
    }


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (b'{"content":[], "x":1.0}', b'{"content":[], "x":1.0}'),
        (b'{"resultType":"complete","x":1.50}', b'{"x":1.50}'),
        (b'{"x":1,"_meta":{"io.modelcontextprotocol/serverInfo":{},"own":1e5}}', b'{"x":1,"_meta":{"own":1e5}}'),
        (b'{"content":[{"text":"resultType"}]}', b'{"content":[{"text":"resultType"}]}'),
        (b'{"content":[],"structuredContent":[1]}', b'{"content":[]}'),
        (b'{"content":[],"structuredContent": {"a":1}}', b'{"content":[],"structuredContent": {"a":1}}'),
    ],
)
def test_a_client_of_before_is_not_told_what_it_does_not_know(result: bytes, told: bytes) -> None:
    assert LEGACY.result("tools/call", result) == told


def test_a_resource_that_is_not_found_has_the_code_of_the_callers_era() -> None:
    refused = b'{"code":-32002,"message":"Resource not found","data":{"uri":"x:"}}'
    modern, legacy = MODERN.upstream_error(refused), LEGACY.upstream_error(refused)
    assert modern is not None
    assert legacy is not None
    assert json.loads(error_message(b"1", modern))["error"] == {**json.loads(refused), "code": -32602}
    assert error_message(b"1", legacy) == b'{"jsonrpc":"2.0","id":1,"error":%s}' % refused


def test_what_is_no_error_object_is_none() -> None:
    assert [MODERN.upstream_error(wrong) for wrong in (b"[]", b'{"code":"x"}', b"")] == [None] * 3


def test_a_request_whose_headers_say_what_its_body_says_is_good() -> None:
    assert code_of(request(name="t", _meta=META), GOOD) is None
    spaced = {name: [f" {value[0]}\t"] for name, value in GOOD.items()}
    assert code_of(request(name="t", _meta=META), spaced) is None
    named = GOOD | {"mcp-name": ["=?base64?w7x0?="]}
    assert code_of(request(name="üt", _meta=META), named) is None


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"mcp-method": []}, -32020),
        ({"mcp-method": ["tools/list"]}, -32020),
        ({"mcp-name": ["t", "t"]}, -32020),
        ({"mcp-name": ["=?base64?dA?="]}, -32020),
        ({"mcp-protocol-version": ["2025-11-25"]}, -32020),
    ],
)
def test_a_header_that_says_something_else_is_refused(changed: dict[str, list[str]], code: int) -> None:
    assert code_of(request(name="t", _meta=META), GOOD | changed) == code


def test_a_request_that_does_not_say_what_it_is_is_refused_first() -> None:
    assert code_of(request(name="t"), {}) == -32602
    assert code_of(request(name="t", _meta={**META, "io.modelcontextprotocol/clientCapabilities": 1}), GOOD) == -32602


def test_a_version_that_is_not_served_is_told_which_are() -> None:
    meta = META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    assert code_of(request(name="t", _meta=meta), GOOD | {"mcp-protocol-version": ["2099-01-01"]}) == -32022


@pytest.mark.parametrize(
    ("arguments", "headers", "is_good"),
    [
        ({"a": "x"}, {"mcp-param-region": ["x"]}, True),
        ({"a": "x"}, {}, False),
        ({"a": "x"}, {"mcp-param-region": ["y"]}, False),
        ({"a": "x"}, {"mcp-param-region": ["x", "x"]}, False),
        ({}, {"mcp-param-region": ["x"]}, False),
        ({"a": None}, {}, True),
        ({"a": 42}, {"mcp-param-region": ["42.0"]}, True),
        ({"a": 42}, {"mcp-param-region": ["43"]}, False),
        ({"a": True}, {"mcp-param-region": ["true"]}, True),
        ({"a": "Hello"}, {"mcp-param-region": ["=?base64?SGVsbG8=?="]}, True),
        ({"a": "Hello"}, {"mcp-param-region": ["=?base64?SGVsbG8?="]}, False),
    ],
)
def test_arguments_that_are_repeated_in_headers_must_agree(
    arguments: dict[str, Any], headers: dict[str, list[str]], is_good: bool
) -> None:
    def check() -> None:
        check_params(arguments, {("a",): "Region"}, lambda name: headers.get(name, []))

    if is_good:
        check()
    else:
        with pytest.raises(RpcError) as caught:
            check()
        assert caught.value.code == -32020


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}', -32700),
        (b"[]", -32600),
        (b'{"id":1,"method":"x"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"x"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"x"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}', -32600),
    ],
)
def test_what_is_no_message_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(RpcError) as caught:
        read_message(body)
    assert caught.value.code == code


def test_an_id_keeps_its_own_bytes() -> None:
    message = read_message(b'{"jsonrpc":"2.0","method":"x","id": "\\u00e4"}')
    assert isinstance(message, RpcRequest)
    assert message.id == b'"\\u00e4"'
    assert isinstance(read_message(b'{"jsonrpc":"2.0","method":"x"}'), RpcNotification)
    assert isinstance(read_message(b'{"jsonrpc":"2.0","id":1,"error":{}}'), RpcResponse)


def test_members_are_put_before_those_that_are_there() -> None:
    assert with_members(b'{ "a":1}', b'"b":2') == b'{"b":2, "a":1}'
    assert with_members(b"{}", b'"b":2') == b'{"b":2}'
