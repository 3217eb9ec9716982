"""HTTP: POST /v1/query → query; GET /v1/servers, tools, resources, prompts → lists."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from starlette.types import Receive, Scope

from bus_schemas.errors import OF_ADMIN, ErrorCode
from bus_schemas.queries import Answer
from bus_schemas.workers import Definition
from services.orchestrator.admission import Admission
from services.orchestrator.catalogue import Kind
from services.orchestrator.context import Context
from services.orchestrator.hanging_up import while_connected
from services.orchestrator.intake import RequestHeaders, check_is_json, read_json_body, refused
from services.orchestrator.lists import (
    Lists,
    PromptPage,
    ResourcePage,
    Selection,
    ServerList,
    ToolPage,
)
from services.orchestrator.openapi import IDEMPOTENCY_KEY, IDEMPOTENCY_PARAMETER, QUERY_BODY
from services.orchestrator.query import Reply
from services.orchestrator.state import OrchestratorState, state_of
from services.orchestrator.tracing import trace_context
from services.orchestrator.writing import HeldResponse
from services.runtime.auth.principals import Principal
from services.runtime.errors import QueryError
from services.runtime.ids import new_id
from services.runtime.openapi import problems

router = APIRouter(prefix="/v1")

T = TypeVar("T")

_EVERYWHERE = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.MISDIRECTED_REQUEST,
    ErrorCode.ISSUER_UNAVAILABLE,
)
_NOT_OF_QUERIES = {ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.TOOL_ERROR, *OF_ADMIN}
OF_QUERIES = tuple(code for code in ErrorCode if code not in _NOT_OF_QUERIES)
_OF_LISTS = problems(*_EVERYWHERE, ErrorCode.INVALID_REQUEST, ErrorCode.INTERNAL)


def _page_of(model: type[BaseModel]) -> dict[str, Any]:
    """What a route says of a page that it writes itself."""
    told = {"model": model, "description": "Successful Response"}
    return {"response_model": None, "responses": {200: told, **_OF_LISTS}}


async def caller(request: Request) -> Principal:
    """Who asks. Raises UnauthorizedError, ForbiddenError, IssuerUnavailableError."""
    headers = RequestHeaders(request.scope["headers"])
    return await state_of(request.scope).authenticate(headers.first("authorization"), headers.names)


def _lists(request: Request) -> Lists:
    return state_of(request.scope).lists


Caller = Annotated[Principal, Depends(caller)]
ListsOf = Annotated[Lists, Depends(_lists)]
Wanted = Annotated[Selection, Query()]


@router.post(
    "/query",
    tags=["query"],
    summary="Ask one tool, resource or prompt of one MCP server",
    description="The result is the MCP server's own result object, unchanged. A tool that answers `isError: true` "
    "is a successful query.",
    response_model=None,
    responses={200: {"model": Answer, "description": "The server's answer"}, **problems(*OF_QUERIES)},
    openapi_extra={"requestBody": QUERY_BODY, "parameters": [IDEMPOTENCY_PARAMETER]},
)
async def query(request: Request) -> Response:
    return await ask(request.scope, request.receive)


def _as_it_is(part: T) -> T:
    return part


async def ask(
    scope: Scope,
    receive: Receive,
    query_of: Callable[[bytes], bytes] = _as_it_is,
    told: Callable[[Reply], Reply] = _as_it_is,
) -> Response:
    """Answer the query that a request makes.

    Args:
        scope: of the request.
        receive: gives its body, which is JSON.
        query_of: gives the query for the body; may raise a QueryError.
        told: gives what the caller is told for the reply.
    """
    state = state_of(scope)
    received_at = time.monotonic()
    request_id = new_id()
    headers = RequestHeaders(scope["headers"])
    admission = state.admission
    try:
        principal = await state.authenticate(headers.first("authorization"), headers.names)
        admission.check()  # the HTTP server drops the body of a query that is refused here
        with admission.holding() as hold:
            body = query_of(await read_json_body(receive, headers, hold))
            context = _context(request_id, principal, received_at, headers)
            with admission.query():
                reply = await while_connected(receive, state.queries.answer(body, context))
    except QueryError as error:
        return refused(state, error, request_id, received_at)
    if reply is None:
        return Response(status_code=499)  # nobody reads it; the number is nginx's for a client that closed
    return _response(told(reply), admission)


async def ask_whole(state: OrchestratorState, headers: RequestHeaders, body: bytes) -> Response:
    """Answer the query that a request makes whose body is here; cancel it when its caller has gone."""
    received_at = time.monotonic()
    request_id = new_id()
    admission = state.admission
    try:
        principal = await state.authenticate(headers.first("authorization"), headers.names)
        with admission.query(), admission.holding() as hold:
            hold.add(len(body))
            check_is_json(headers)
            context = _context(request_id, principal, received_at, headers)
            reply = await state.queries.answer(body, context)
    except QueryError as error:
        return refused(state, error, request_id, received_at)
    return _response(reply, admission)


def _context(request_id: str, principal: Principal, received_at: float, headers: RequestHeaders) -> Context:
    return Context(
        request_id,
        principal,
        received_at,
        trace_context(headers),
        headers,
        idempotency_key=headers.joined(IDEMPOTENCY_KEY),
    )


def _response(reply: Reply, admission: Admission) -> Response:
    return HeldResponse(reply.body, reply.status, {"content-type": reply.content_type, **reply.headers}, admission)


@router.get("/servers", tags=["catalogue"], summary="Servers and their versions", **_page_of(ServerList))
async def servers(caller: Caller, lists: ListsOf) -> Response:
    return Response(lists.servers(caller).model_dump_json(), media_type="application/json")


@router.get("/tools", tags=["catalogue"], summary="Tools, as their servers define them", **_page_of(ToolPage))
async def tools(caller: Caller, lists: ListsOf, wanted: Wanted) -> Response:
    return _page("tool", *lists.page("tool", caller, wanted))


@router.get(
    "/resources", tags=["catalogue"], summary="Resources, as their servers define them", **_page_of(ResourcePage)
)
async def resources(caller: Caller, lists: ListsOf, wanted: Wanted) -> Response:
    return _page("resource", *lists.page("resource", caller, wanted))


@router.get("/prompts", tags=["catalogue"], summary="Prompts, as their servers define them", **_page_of(PromptPage))
async def prompts(caller: Caller, lists: ListsOf, wanted: Wanted) -> Response:
    return _page("prompt", *lists.page("prompt", caller, wanted))


def _page(kind: Kind, page: Sequence[tuple[str, str, Definition]], after: str | None) -> Response:
    """Write a page as it stands: models of a thousand definitions would hold up all queries meanwhile."""
    items = [{"server": name, "version": version, kind: definition} for name, version, definition in page]
    return Response(msgspec.json.encode({f"{kind}s": items, "next_cursor": after}), media_type="application/json")
