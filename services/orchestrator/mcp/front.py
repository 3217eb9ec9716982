"""CENTRAL: one HTTP request of an MCP client, from its body to its reply."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import Response

from services.orchestrator.admission import Admission
from services.orchestrator.context import Context
from services.orchestrator.mcp.changes import LIST_KINDS, ListChanges
from services.orchestrator.mcp.conversation import Answered, Conversation, Say
from services.orchestrator.mcp.eras import LEGACY, MODERN, Era
from services.orchestrator.mcp.events import EVENTS_TYPE, takes_events
from services.orchestrator.mcp.headers import check_modern
from services.orchestrator.mcp.jsonrpc import (
    INVALID_REQUEST,
    NO_ID,
    RpcError,
    RpcMessage,
    RpcNotification,
    RpcRequest,
    RpcResponse,
    error_message,
    read_message,
    result_message,
)
from services.orchestrator.mcp.legacy import SESSION_ID, LegacyFront, SessionNotFoundError
from services.orchestrator.mcp.metrics import FrontMetrics
from services.orchestrator.mcp.modern import ModernFront, is_modern, says_modern
from services.orchestrator.mcp.subscriptions import ChangeStream, subscription

_NO_SESSION: Final = RpcError(INVALID_REQUEST, "Session not found")
_NO_RESPONSES: Final = RpcError(INVALID_REQUEST, "The body must be a request or a notification")


class Front:
    """Tells the eras apart, by how each request comes."""

    def __init__(
        self,
        modern: ModernFront,
        legacy: LegacyFront,
        changes: ListChanges,
        admission: Admission,
        metrics: FrontMetrics,
    ) -> None:
        self._modern = modern
        self._legacy = legacy
        self._changes = changes
        self._admission = admission
        self._metrics = metrics

    async def reply(self, body: bytes, server: str | None, context: Context) -> Response:
        """Return the reply to what a client has posted.

        Args:
            body: one JSON-RPC message, if it is well-formed.
            server: the only one that is asked; None: the fleet.
            context: whose headers are the request's.
        """
        try:
            message = read_message(body)
        except RpcError as error:
            return _refusal(NO_ID, error, 400)
        is_new = is_modern(message, context)
        if isinstance(message, RpcRequest):
            self._metrics.requested(message.method, is_modern=is_new)
        if is_new:
            return self._modern_reply(message, len(body), server, context)
        try:
            return await self._legacy_reply(message, len(body), server, context)
        except SessionNotFoundError:
            return _refusal(message.id if isinstance(message, RpcRequest) else NO_ID, _NO_SESSION, 404)

    def stream(self, server: str | None, context: Context) -> Response | None:
        """Return the stream that a client of the handshake era may have beside those of its requests; None: not here.

        Args:
            server: whose changes are told; None: of all.
            context: whose headers are the request's.
        """
        if says_modern(context) or not takes_events(context.headers):
            return None
        try:
            session = self._legacy.session(context)
        except SessionNotFoundError:
            return _refusal(NO_ID, _NO_SESSION, 404)
        if session is None:
            return None
        return ChangeStream(self._changes.listening(context.principal, server, frozenset(LIST_KINDS)))

    def _modern_reply(self, message: RpcMessage, size: int, server: str | None, context: Context) -> Response:
        match message:
            case RpcRequest(method="subscriptions/listen"):
                return self._subscription(message, server, context)
            case RpcRequest():
                return self._conversation(
                    message, size, context, MODERN, lambda say: self._modern.result(message, server, context, say)
                )
            case RpcNotification():
                return Response(status_code=202)
            case RpcResponse():
                return _refusal(NO_ID, _NO_RESPONSES, 400)

    def _subscription(self, request: RpcRequest, server: str | None, context: Context) -> Response:
        try:
            check_modern(request, context.headers)
            if not takes_events(context.headers):
                raise RpcError(INVALID_REQUEST, f"A subscription is told in {EVENTS_TYPE}")
            return subscription(request, server, context.principal, self._changes)
        except RpcError as error:
            return _refusal(request.id, error, MODERN.status(error))

    async def _legacy_reply(self, message: RpcMessage, size: int, server: str | None, context: Context) -> Response:
        if isinstance(message, RpcRequest) and message.method == "initialize":
            result, session_id = self._legacy.initialize(message, server, context)
            return _json(result_message(message.id, result), 200, {SESSION_ID: session_id})
        session = self._legacy.session(context)
        match message:
            case RpcRequest():
                return self._conversation(
                    message,
                    size,
                    context,
                    LEGACY,
                    lambda say: self._legacy.result(message, session, server, context, say),
                )
            case RpcNotification() | RpcResponse():
                await self._legacy.take(message, session, context)
                return Response(status_code=202)

    def _conversation(
        self, request: RpcRequest, size: int, context: Context, era: Era, work: Callable[[Say], Awaitable[bytes]]
    ) -> Response:
        async def answering(say: Say) -> Answered:
            with self._admission.holding() as hold:
                hold.add(size)
                try:
                    return Answered(result_message(request.id, await work(say)))
                except RpcError as error:
                    return Answered(error_message(request.id, error), era.status(error))

        return Conversation(answering, self._admission, takes_events=takes_events(context.headers))


def _refusal(request_id: bytes, error: RpcError, status: int) -> Response:
    return _json(error_message(request_id, error), status)


def _json(message: bytes, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(message, status, headers, "application/json")
