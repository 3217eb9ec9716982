"""HTTP: /mcp, the whole fleet as one MCP server, and /servers/<server>/mcp, one server under its own names → front."""

import time
from dataclasses import dataclass
from typing import Never

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.types import Send

from bus_schemas.errors import FieldError
from services.orchestrator.context import Context
from services.orchestrator.intake import RequestHeaders, check_is_json, read_json_body, refused
from services.orchestrator.mcp.conversation import Conversation
from services.orchestrator.mcp.directory import Directory
from services.orchestrator.mcp.front import Front
from services.orchestrator.state import OrchestratorState, state_of
from services.orchestrator.tracing import trace_context
from services.runtime.auth.principals import Principal
from services.runtime.errors import ForbiddenError, InvalidRequestError, QueryError, ServerNotFoundError
from services.runtime.ids import new_id


@dataclass(frozen=True, slots=True)
class McpState:
    """What these requests find beside `OrchestratorState`; built by `app`, in its lifespan."""

    front: Front
    searching: Front
    """Of those who would rather search for tools than be listed all of them."""
    directory: Directory


async def ask_fleet(request: Request) -> Response:
    return await _ask(request, None)


async def ask_server(request: Request) -> Response:
    return await _ask(request, request.path_params["server"])


def add_mcp(app: FastAPI) -> None:
    """Add the routes, which are none of FastAPI's: it has nothing to check or to describe where JSON-RPC is said."""
    app.add_route("/mcp", ask_fleet, methods=["GET", "POST"], include_in_schema=False)
    app.add_route("/servers/{server}/mcp", ask_server, methods=["GET", "POST"], include_in_schema=False)


async def _ask(request: Request, server: str | None) -> Response:
    state, mcp = state_of(request.scope), _mcp_state_of(request)
    received_at, request_id = time.monotonic(), new_id()
    headers = RequestHeaders(request.scope["headers"])
    try:
        principal = await _caller(headers, state, mcp, server)
        front = _front(request, mcp)
        context = Context(request_id, principal, received_at, trace_context(headers), headers)
        if request.method == "GET":
            return front.stream(server, context) or _not_here()
        state.admission.check()
        with state.admission.holding() as hold:
            body = await read_json_body(request.receive, headers, hold)
    except QueryError as error:
        return refused(state, error, request_id, received_at)
    return await front.reply(body, server, context)


async def ask_whole(
    state: OrchestratorState, mcp: McpState, headers: RequestHeaders, body: bytes, send: Send, *, server: str | None
) -> Response | None:
    """Answer a POST whose body is here; what is said before the result goes out by `send`, and the result after it."""
    received_at, request_id = time.monotonic(), new_id()
    try:
        principal = await _caller(headers, state, mcp, server)
        state.admission.check()
        check_is_json(headers)
    except QueryError as error:
        return refused(state, error, request_id, received_at)
    context = Context(request_id, principal, received_at, trace_context(headers), headers)
    reply = await mcp.front.reply(body, server, context)
    return await reply.run(send) if isinstance(reply, Conversation) else reply


def _front(request: Request, mcp: McpState) -> Front:
    """Return the one that the address asks for: `?tools=search`, or all of them. Raises InvalidRequestError."""
    match request.query_params.get("tools"):
        case None | "all":
            return mcp.front
        case "search":
            return mcp.searching
        case _:
            raise InvalidRequestError(errors=[FieldError(pointer="/tools", keyword="enum")])


def _not_here() -> Never:
    """Streams are for sessions of the handshake era."""
    raise HTTPException(405, headers={"Allow": "POST"})


async def _caller(headers: RequestHeaders, state: OrchestratorState, mcp: McpState, server: str | None) -> Principal:
    """Return who asks.

    Raises:
        UnauthorizedError: no key, or a bad one.
        ForbiddenError: none for this server.
        ServerNotFoundError: there is no such server.
        IssuerUnavailableError: a token cannot be checked.
    """
    principal = await state.authenticate(headers.first("authorization"), headers.names)
    if server is not None:
        if not principal.may_use_server(server):
            raise ForbiddenError
        if not mcp.directory.is_known(server):
            raise ServerNotFoundError
    return principal


def _mcp_state_of(request: Request) -> McpState:
    state: McpState = request.state.mcp
    return state
