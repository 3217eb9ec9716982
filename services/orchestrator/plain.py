"""A tool as plain HTTP: its arguments are the body, what it gives is the answer (pure)."""

from typing import Any, Final

import msgspec
import orjson

from bus_schemas.errors import ERRORS, FieldError
from services.orchestrator.query import Reply
from services.runtime.errors import InvalidRequestError, ToolFailedError
from services.runtime.i_json import read_i_json
from services.runtime.outlines import decode_outline
from services.runtime.problems import CONTENT_TYPE, problem_body

_ARGUMENTS: Final = "/arguments"
_COMPLETE: Final = "complete"
_NULL_TEXT: Final = b"null"
_NULL: Final = msgspec.Raw(_NULL_TEXT)
_NOTHING: Final = msgspec.Raw(b"[]")


class _Answer(msgspec.Struct):
    id: str
    result: msgspec.Raw


class _Result(msgspec.Struct):
    # MCP's names
    structuredContent: msgspec.Raw = _NULL  # noqa: N815
    content: msgspec.Raw = _NOTHING
    isError: bool = False  # noqa: N815
    resultType: str = _COMPLETE  # noqa: N815


_answer_decoder = msgspec.json.Decoder(_Answer)
_result_decoder = msgspec.json.Decoder(_Result)


def plain_query(server: str, tool: str, arguments: bytes, timeout_ms: int) -> bytes:
    """Return the query for a tool's arguments.

    Raises:
        InvalidJsonError: they are not I-JSON.
        InvalidRequestError: they are no object.
    """
    if not isinstance(read_i_json(arguments), dict):  # else they could close the query's object themselves
        raise InvalidRequestError(errors=[FieldError(pointer="", keyword="type")])
    head = orjson.dumps({"server": server, "tool": tool, "timeout_ms": timeout_ms})
    return b"".join((head[:-1], b',"arguments":', arguments, b"}"))


def plain_reply(reply: Reply) -> Reply:
    """Return what the caller of a tool is told of the reply to its query.

    The structured content if there is any, else the content, a list. A tool that says that it failed, or that asks
    something back, which plain HTTP has no way to answer, is a problem: a status of 200 would be taken for success.
    """
    if reply.status != 200:
        return Reply(reply.status, _of_arguments(reply.body), reply.content_type, reply.headers)
    answer = decode_outline(_answer_decoder, reply.body)
    result = decode_outline(_result_decoder, bytes(answer.result))
    if result.isError or result.resultType != _COMPLETE:
        problem = problem_body(ToolFailedError(), answer.id)
        body = b"".join((problem[:-1], b',"content":', bytes(result.content), b"}"))
        return Reply(ERRORS[ToolFailedError.code].status, body, CONTENT_TYPE, reply.headers)
    given = bytes(result.structuredContent)
    return Reply(200, bytes(result.content) if given == _NULL_TEXT else given, headers=reply.headers)


def _of_arguments(problem: bytes) -> bytes:
    """Return the problem with pointers into what the caller has sent."""
    told: dict[str, Any] = orjson.loads(problem)
    if not told.get("errors"):
        return problem
    for error in told["errors"]:
        error["pointer"] = error["pointer"].removeprefix(_ARGUMENTS)
    return orjson.dumps(told)
