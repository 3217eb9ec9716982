"""HTTP, tools as plain HTTP: POST /servers/{server}/tools/{tool} → plain; GET …/openapi.json → tool_document."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from bus_schemas.errors import ErrorCode
from bus_schemas.names import ServerName
from bus_schemas.queries import MAX_TIMEOUT_MS
from services.orchestrator.api import OF_QUERIES, Caller, ListsOf, ask
from services.orchestrator.openapi import IDEMPOTENCY_PARAMETER
from services.orchestrator.plain import plain_query, plain_reply
from services.orchestrator.tool_document import tool_document
from services.runtime.openapi import problems

router = APIRouter(prefix="/servers/{server}", tags=["tools as plain HTTP"])

_OF_DOCUMENTS = problems(
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.MISDIRECTED_REQUEST,
    ErrorCode.SERVER_NOT_FOUND,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.SERVER_UNAVAILABLE,
    ErrorCode.ISSUER_UNAVAILABLE,
    ErrorCode.INTERNAL,
)
_OF_TOOLS = problems(*OF_QUERIES, ErrorCode.TOOL_ERROR)


@router.get("/openapi.json", summary="The tools of one server, as far as the key may use them", responses=_OF_DOCUMENTS)
async def document(server: ServerName, caller: Caller, lists: ListsOf) -> dict[str, Any]:
    version, tools = lists.tools_of(server, caller)
    return tool_document(server, version, tools)


@router.post(
    "/tools/{tool:path}",
    summary="Call one tool: the body holds its arguments",
    description="Answers with the structured content, or, where there is none, with the list of content blocks. A tool "
    "that says that it failed is a problem, `tool_error`, with its `content`.",
    response_model=None,
    responses={
        200: {"description": "What the tool gives", "content": {"application/json": {"schema": {}}}},
        **_OF_TOOLS,
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "parameters": [IDEMPOTENCY_PARAMETER],
    },
)
async def call_tool(
    request: Request,
    server: ServerName,
    tool: str,
    timeout_ms: Annotated[int, Query(ge=1, le=MAX_TIMEOUT_MS, description="How long the caller waits.")] = 30_000,
) -> Response:
    return await ask(
        request.scope, request.receive, lambda body: plain_query(server, tool, body, timeout_ms), plain_reply
    )
