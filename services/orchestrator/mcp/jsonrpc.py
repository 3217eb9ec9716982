"""JSON-RPC as callers send it: the envelope is read, what goes to a server keeps its own bytes."""

from typing import Any, Final

import msgspec

from services.runtime.errors import InvalidJsonError
from services.runtime.i_json import read_i_json

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

NO_ID: Final = b"null"


class RpcError(Exception):
    """What a caller is told instead of a result."""

    def __init__(self, code: int, message: str, data: bytes | None = None, *, raw: bytes | None = None) -> None:
        """Keep what is told.

        Args:
            code: of JSON-RPC, or of MCP.
            message: one sentence; nothing that an exception said.
            data: JSON.
            raw: the whole error object, where a server has written it.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.raw = raw


class RawParams(msgspec.Struct, rename="camel"):
    """The members of a request's params that keep their own bytes."""

    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    input_responses: msgspec.Raw = msgspec.Raw(b"null")
    argument: msgspec.Raw = msgspec.Raw(b"null")
    context: msgspec.Raw = msgspec.Raw(b"null")


class RpcRequest(msgspec.Struct, frozen=True, eq=False):
    """One request."""

    id: bytes
    """JSON: a string or an integer, as the caller wrote it."""
    method: str
    params: dict[str, Any]
    raw: RawParams

    @property
    def meta(self) -> dict[str, Any]:
        """The params' `_meta`; empty where there is none."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    def text(self, member: str, longest: int) -> str:
        """Return a member of the params that is a text of at most `longest` characters, not empty.

        Raises:
            RpcError: it is not.
        """
        value = self.params.get(member)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise RpcError(INVALID_PARAMS, f"params.{member} must be a string of 1 to {longest} characters")
        return value

    def members(self, member: str) -> dict[str, Any]:
        """Return a member of the params that is an object; empty where there is none.

        Raises:
            RpcError: it is something else.
        """
        value = self.params.get(member)
        if value is not None and not isinstance(value, dict):
            raise RpcError(INVALID_PARAMS, f"params.{member} must be an object")
        return value or {}


class RpcNotification(msgspec.Struct, frozen=True, eq=False):
    """One notification."""

    method: str
    params: dict[str, Any]


class RpcResponse(msgspec.Struct, frozen=True, eq=False):
    """A caller's answer to a request of ours."""

    id: Any
    body: bytes


RpcMessage = RpcRequest | RpcNotification | RpcResponse


class _Outer(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(NO_ID)
    params: msgspec.Raw = msgspec.Raw(b"{}")


_outer_decoder = msgspec.json.Decoder(_Outer)
_params_decoder = msgspec.json.Decoder(RawParams)


def read_message(body: bytes) -> RpcMessage:
    """Return the message in `body`.

    Raises:
        RpcError: it is not I-JSON, or not one JSON-RPC message; batches are none.
    """
    try:
        document = read_i_json(body)
        if not isinstance(document, dict) or document.get("jsonrpc") != "2.0":
            raise RpcError(INVALID_REQUEST, "The body must be one JSON-RPC 2.0 message")
        if "method" not in document and ("result" in document or "error" in document):
            return RpcResponse(document.get("id"), body)
        method, params = document.get("method"), document.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict):
            raise RpcError(INVALID_REQUEST, "A request has a method, and params that are an object")
        if "id" not in document:
            return RpcNotification(method, params)
        if not isinstance(document["id"], str | int) or isinstance(document["id"], bool):
            raise RpcError(INVALID_REQUEST, "A request's id is a string or an integer")
        outer = _outer_decoder.decode(body)
        return RpcRequest(bytes(outer.id), method, params, _params_decoder.decode(outer.params))
    except (InvalidJsonError, msgspec.DecodeError) as error:
        raise RpcError(PARSE_ERROR, "Parse error") from error


def result_message(request_id: bytes, result: bytes) -> bytes:
    """Return the response with a result, whose bytes stay as they are."""
    return b"".join((b'{"jsonrpc":"2.0","id":', request_id, b',"result":', result, b"}"))


def error_message(request_id: bytes, error: RpcError) -> bytes:
    """Return the response with an error."""
    told = error.raw
    if told is None:
        members: dict[str, Any] = {"code": error.code, "message": error.message}
        if error.data is not None:
            members["data"] = msgspec.Raw(error.data)
        told = msgspec.json.encode(members)
    return b"".join((b'{"jsonrpc":"2.0","id":', request_id, b',"error":', told, b"}"))


def notification_message(method: str, params: bytes) -> bytes:
    """Return a notification; `params` is a JSON object."""
    return b'{"jsonrpc":"2.0","method":"%s","params":%s}' % (method.encode(), params)


def request_message(request_id: str, method: str, params: bytes) -> bytes:
    """Return a request of ours; `params` is a JSON object."""
    told = msgspec.json.encode(request_id)
    return b'{"jsonrpc":"2.0","id":%s,"method":%s,"params":%s}' % (told, msgspec.json.encode(method), params)


def with_members(json_object: bytes, members: bytes) -> bytes:
    """Return the object with more members at its beginning; its own bytes stay as they are.

    Args:
        json_object: begins with its brace.
        members: `"name":value`, comma-separated; none of them in the object.
    """
    rest = json_object[1:]
    comma = b"" if rest.lstrip().startswith(b"}") else b","
    return b"".join((b"{", members, comma, rest))
