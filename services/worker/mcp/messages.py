"""JSON-RPC messages: only the envelope is read; params and results stay the bytes they are."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.runtime.errors import ResultTooLargeError, UpstreamError, UpstreamRefusedError
from services.runtime.outlines import decode_outline
from services.worker.mcp.session import MAX_RESULT_BYTES

METHOD_NOT_FOUND: Final = -32601

KEPT_ENDS_BYTES: Final = 256
"""Of a response that cannot be read: enough for its id, at whichever end it is."""

_NOTHING = msgspec.Raw()


class NoMessageError(ValueError):
    """Not a JSON-RPC message: another form, not JSON (NaN), not UTF-8, or too deep and too large to be looked at."""


class Message(msgspec.Struct):
    """One message from a server: a response, a notification, or (in the legacy era) a request."""

    id: int | float | str | None = None
    method: str | None = None
    params: msgspec.Raw = _NOTHING
    result: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING

    @property
    def is_response(self) -> bool:
        """Whether it ends a request."""
        return self.method is None and bool(memoryview(self.result) or memoryview(self.error))


class McpError(msgspec.Struct):
    """What a JSON-RPC error says, as far as we act on it."""

    code: int = 0
    data: Any = None


_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]{1,15})\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*([0-9]{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')

_message_decoder = msgspec.json.Decoder(Message)
_error_decoder = msgspec.json.Decoder(McpError)


def decode_message(data: bytes) -> Message:
    """Return the message that `data` holds; its raw parts refer to `data`.

    Raises:
        NoMessageError: it holds none.
    """
    try:
        if not data.isascii():
            # The decoder passes over the bytes of raw parts without a look at their encoding.
            str(data, "utf-8")
        return decode_outline(_message_decoder, data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoMessageError from error


def decode_error(error: bytes | None) -> McpError:
    """Return what a JSON-RPC error object says; code 0 if it is none."""
    try:
        return decode_outline(_error_decoder, error or b"{}")
    except msgspec.DecodeError:
        return McpError()


def salvage_id(data: bytes) -> int | float | str | None:
    """Return the `id` of a message that `decode_message` refuses, if it has one; None otherwise."""
    try:
        message = json.loads(data.decode(errors="replace"))
    except RecursionError:
        return id_at_ends(data[:KEPT_ENDS_BYTES] + data[-KEPT_ENDS_BYTES:])
    except ValueError:
        return None
    request_id = message.get("id") if isinstance(message, dict) else None
    return request_id if isinstance(request_id, int | float | str) and not isinstance(request_id, bool) else None


def id_at_ends(line: bytes) -> int | None:
    """Return the `id` of a response of which only the beginning and the end are left, if it stands there.

    It does so where the result is the first or the last member but for `jsonrpc`, as in all that is written by a
    program; an id within the result is never mistaken for it.
    """
    found = _ID_FIRST.match(line) or _ID_LAST.search(line)
    return int(found[1]) if found else None


def outcome(message: Message) -> bytes:
    """Return the result's bytes.

    Raises:
        UpstreamRefusedError: it is an error response.
        ResultTooLargeError: the result is over the cap.
        UpstreamError: the result is no object.
    """
    if memoryview(message.error):
        raise UpstreamRefusedError(mcp_error=bytes(message.error))
    result = bytes(message.result)
    if len(result) > MAX_RESULT_BYTES:
        raise ResultTooLargeError
    if not result.startswith(b"{"):
        raise UpstreamError
    return result


def encode_request(request_id: int, method: str, params: bytes, meta: Mapping[str, Any]) -> bytes:
    """Return one request on one line; `params` gets `meta` as its `_meta` and is otherwise unchanged."""
    if meta:
        members = params.strip()[1:-1]
        comma = b"," if members.strip() else b""
        params = b'{"_meta":' + msgspec.json.encode(meta) + comma + members + b"}"
    # A line break in JSON can only stand between tokens.
    line = params.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in params or b"\r" in params else params
    return b'{"jsonrpc":"2.0","id":%d,"method":%s,"params":%s}' % (request_id, msgspec.json.encode(method), line)


def encode_notification(method: str, params: Mapping[str, Any]) -> bytes:
    """Return one notification on one line."""
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params})


def encode_cancellation(request_id: int) -> bytes:
    """Return the notification that nobody waits for a request any more."""
    params = {"requestId": request_id, "reason": "the caller no longer waits"}
    return encode_notification("notifications/cancelled", params)


def encode_response(request: Message, answer: bytes) -> bytes:
    """Return the response to a request of the server's, on one line.

    Args:
        request: whose id it has.
        answer: a JSON object with `result` or `error`.
    """
    line = answer.replace(b"\n", b" ").replace(b"\r", b" ")
    return b'{"jsonrpc":"2.0","id":%s,%s' % (msgspec.json.encode(request.id), line.lstrip()[1:])


def encode_answer(request: Message) -> bytes:
    """Return our answer to a request of the server's: a ping is answered, anything else we do not do."""
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request.id}
    if request.method == "ping":
        answer["result"] = {}
    else:
        answer["error"] = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
    return msgspec.json.encode(answer)
