"""A body's bytes → a query, or what is wrong with it. Arguments keep their own bytes."""

from functools import cached_property, lru_cache
from typing import Final

import msgspec
import rfc8785
from pydantic import ValidationError

from bus_schemas.errors import FieldError
from bus_schemas.queries import MAX_BODY_BYTES, Query
from services.runtime.errors import InvalidJsonError, InvalidRequestError, PayloadTooLargeError
from services.runtime.field_errors import field_errors, pointer
from services.runtime.i_json import read_i_json

SMALL_BYTES: Final = 4096
"""Of a body; what is larger is not remembered."""
MOST_REMEMBERED: Final = 1024
"""Bodies."""


class _RawParts(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    input_responses: msgspec.Raw = msgspec.Raw(b"null")


class ReadQuery(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A query, and the parts of it that go to the MCP server as the caller wrote them.

    Several callers may have the same one; nobody changes it.
    """

    query: Query
    raw_arguments: bytes
    raw_input_responses: bytes | None
    raw_meta: bytes | None = None
    """What an MCP caller's `_meta` tells servers, a JSON object."""
    raw_completion: bytes | None = None
    """The params' other members, without braces, where what is wanted are values for an argument of the target."""

    @cached_property
    def canonical_arguments(self) -> bytes:
        """The arguments as RFC 8785 writes them; raises ValueError where it cannot, such as an integer over 2^53."""
        return rfc8785.dumps(self.query.arguments)

    def body(self) -> bytes:
        """The call for the worker: native MCP JSON without an id."""
        method, params = self._request()
        meta = b"" if self.raw_meta is None else b',"meta":' + self.raw_meta
        return b'{"method":"%s","params":{%s}%s}' % (method.encode(), b",".join(params), meta)

    def _request(self) -> tuple[str, list[bytes]]:
        """Return the method, and the members of its params."""
        query = self.query
        if self.raw_completion is not None:
            return "completion/complete", [b'"ref":' + _reference(query), self.raw_completion]
        if query.tool is not None:
            method, params = "tools/call", [b'"name":' + _text(query.tool), b'"arguments":' + self.raw_arguments]
        elif query.prompt is not None:
            method, params = "prompts/get", [b'"name":' + _text(query.prompt), b'"arguments":' + self.raw_arguments]
        else:
            method, params = "resources/read", [b'"uri":' + _text(query.target)]
        if self.raw_input_responses is not None:
            params.append(b'"inputResponses":' + self.raw_input_responses)
        if query.request_state is not None:
            params.append(b'"requestState":' + _text(query.request_state))
        return method, params


def read_query(body: bytes) -> ReadQuery:
    """Return the query in `body`; what is asked again is not read again.

    Raises:
        PayloadTooLargeError: it is over 1 MiB.
        InvalidJsonError: it is not I-JSON.
        InvalidRequestError: a field is missing, unknown or malformed; `errors` says which.
    """
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLargeError
    return _read_small(body) if len(body) <= SMALL_BYTES else _read(body)


def _read(body: bytes) -> ReadQuery:
    document = read_i_json(body)
    try:
        query = Query.model_validate(document)
        parts = msgspec.json.decode(body, type=_RawParts)
    except ValidationError as error:
        raise InvalidRequestError(errors=field_errors(error.errors())) from error
    except msgspec.DecodeError as error:
        raise InvalidJsonError from error
    if query.prompt is not None:
        _check_prompt_arguments(query)
    raw_responses = None if query.input_responses is None else bytes(parts.input_responses)
    return ReadQuery(query, bytes(parts.arguments), raw_responses)


_read_small: Final = lru_cache(maxsize=MOST_REMEMBERED)(_read)


def _check_prompt_arguments(query: Query) -> None:
    wrong = [name for name, value in query.arguments.items() if not isinstance(value, str)]
    if wrong:
        raise InvalidRequestError(errors=[FieldError(pointer=pointer(("arguments", wrong[0])), keyword="type")])


def _reference(query: Query) -> bytes:
    """What a completion is for, in MCP's form."""
    if query.prompt is not None:
        return b'{"type":"ref/prompt","name":%s}' % _text(query.prompt)
    return b'{"type":"ref/resource","uri":%s}' % _text(query.target)


def _text(value: str) -> bytes:
    return msgspec.json.encode(value)
