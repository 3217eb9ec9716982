"""Envelopes are read and written; what they hold stays as it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import ResultTooLargeError, UpstreamError, UpstreamRefusedError
from services.worker.mcp.messages import (
    Message,
    NoMessageError,
    decode_error,
    decode_message,
    encode_answer,
    encode_request,
    id_at_ends,
    outcome,
    salvage_id,
)
from services.worker.mcp.session import MAX_RESULT_BYTES

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text().filter(lambda key: key != "_meta"), JSON, max_size=5)


@given(OBJECTS, st.sampled_from([{}, {"traceparent": "00-é"}]), st.sampled_from([None, 2]))
def test_meta_is_added_and_nothing_else_changes(
    params: dict[str, Any], meta: dict[str, Any], indent: int | None
) -> None:
    line = encode_request(7, "tools/call", json.dumps(params, indent=indent).encode(), meta)
    expected = {**params, "_meta": meta} if meta else params
    assert json.loads(line) == {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": expected}
    assert b"\n" not in line


def test_the_bytes_of_the_arguments_stay() -> None:
    assert b'"a" : 1.0e5, "a":2}' in encode_request(1, "m", b'{"a" : 1.0e5, "a":2}', {"x": 1})


@given(OBJECTS)
def test_a_result_is_the_bytes_that_came(result: dict[str, Any]) -> None:
    data = json.dumps(result, indent=1).encode()
    message = decode_message(b'{"jsonrpc": "2.0", "result": %s, "id": 3}' % data)
    assert (message.id, message.is_response, outcome(message)) == (3, True, data)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"7", b'{"id":{}}', b'{"result":NaN}', b'{"result":"\xff"}', b'{"result":"\\ud80"}', b"[" * 10**5],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(NoMessageError):
        decode_message(data)


@pytest.mark.parametrize("value", [b"[" * 5000 + b"]" * 5000, b'"\\ud800"', b'{"\\udc00":' * 2000 + b"1" + b"}" * 2000])
def test_a_result_may_be_deep_and_hold_half_a_surrogate_pair(value: bytes) -> None:
    result = b'{"x": %s }' % value
    assert outcome(decode_message(b'{"jsonrpc":"2.0","result": %s, "id":3}' % result)) == result


def test_an_error_may_be_deep_and_hold_half_a_surrogate_pair() -> None:
    error = b'{"message":"\\ud800","data":' + b"[" * 5000 + b"]" * 5000 + b',"code":-7}'
    with pytest.raises(UpstreamRefusedError) as refusal:
        outcome(decode_message(b'{"id":1,"error":%s}' % error))
    assert refusal.value.mcp_error == error
    assert decode_error(error).code == -7


def test_requests_and_notifications_are_no_responses() -> None:
    assert not decode_message(b'{"id":1,"method":"ping"}').is_response
    assert not decode_message(b'{"method":"notifications/progress","params":{}}').is_response
    assert not decode_message(b'{"hello":"world"}').is_response


def test_an_error_is_the_bytes_that_came() -> None:
    with pytest.raises(UpstreamRefusedError) as refusal:
        outcome(decode_message(b'{"id":1,"error": {"code":-1 , "message":"x"}}'))
    assert refusal.value.mcp_error == b'{"code":-1 , "message":"x"}'
    assert decode_error(refusal.value.mcp_error).code == -1
    assert decode_error(b'"nonsense"').code == 0


def test_a_result_must_be_an_object_of_bearable_size() -> None:
    with pytest.raises(UpstreamError):
        outcome(decode_message(b'{"id":1,"result":[]}'))
    with pytest.raises(ResultTooLargeError):
        outcome(decode_message(b'{"id":1,"result":{"x":"' + b"x" * MAX_RESULT_BYTES + b'"}}'))


def test_the_id_of_a_broken_response_is_found_where_that_is_possible() -> None:
    assert salvage_id(b'{"result":{"x":NaN,"y":"\xff"},"id":9}') == 9
    assert salvage_id(b'{"id":9,"result":{"x":' + b"[" * 10**5) == 9
    assert salvage_id(b'{"result":' + b"[" * 10**5 + b"]" * 10**5 + b',"id":9}') == 9


@pytest.mark.parametrize(
    "data",
    [b"no json", b"[1]", b'{"id":[1],"x":NaN}', b'{"id":{},"x":NaN}', b'{"id":true,"x":NaN}', b"[" * 10**5],
)
def test_what_has_no_id_is_nobodys(data: bytes) -> None:
    assert salvage_id(data) is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"x":"xxx', 7),
        (b'{ "id" : 7 , "result":{"x":"xxx', 7),
        (b'{"result":{"x":"xxx"},"id":7}', 7),
        (b'{"result":{"x":"xxx"}, "id": 7, "jsonrpc": "2.0" }\r', 7),
        (b'{"jsonrpc":"2.0","id":7,"result":{"x":"xxx","id":8}}', 7),
        (b'{"jsonrpc":"2.0","result":{"id":8,"x":"xxx', None),
        (b'{"jsonrpc":"2.0","result":{"x":"xxx","id":8}}', None),
        (b'{"jsonrpc":"2.0","method":"x","params":{"x":"xxx","id":8}}', None),
        (b'{"id":"7","result":{"x":"xxx', None),
        (b"xxx", None),
    ],
)
def test_the_id_of_a_response_that_was_cut_is_found_at_its_ends_alone(line: bytes, found: int | None) -> None:
    assert id_at_ends(line) == found


def test_a_ping_is_answered_and_what_we_cannot_do_is_refused() -> None:
    assert json.loads(encode_answer(Message(id="s", method="ping"))) == {"jsonrpc": "2.0", "id": "s", "result": {}}
    assert json.loads(encode_answer(Message(id=1, method="roots/list")))["error"]["code"] == -32601
