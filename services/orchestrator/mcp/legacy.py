"""2024-11-05 to 2025-11-25: a handshake, and a session whose id is all that there is of it."""

from typing import Any, Final

import msgspec

from bus_schemas.calls import LOG_LEVELS
from bus_schemas.clients import ClientAnswered, ClientCancelled, ClientSetLogLevel
from services.orchestrator.context import Context
from services.orchestrator.mcp.client_events import ClientEvents
from services.orchestrator.mcp.conversation import Say
from services.orchestrator.mcp.directory import Directory
from services.orchestrator.mcp.discovery import initialized, negotiated
from services.orchestrator.mcp.eras import LEGACY
from services.orchestrator.mcp.events import takes_events
from services.orchestrator.mcp.headers import CAPABILITIES_MEMBER, CLIENT_MEMBER, LOG_LEVEL_MEMBER
from services.orchestrator.mcp.input_required import Interview
from services.orchestrator.mcp.jsonrpc import INVALID_PARAMS, RpcError, RpcNotification, RpcRequest, RpcResponse
from services.orchestrator.mcp.requests import Asking, Requests
from services.orchestrator.mcp.sessions import Seal, Session, issue_session, read_session

SESSION_ID: Final = "mcp-session-id"

_NOTHING: Final = b"{}"


class SessionNotFoundError(Exception):
    """There is no such session; the client has to shake hands anew."""


class LegacyFront:
    """Answers requests of the handshake era."""

    def __init__(self, seal: Seal, directory: Directory, requests: Requests, events: ClientEvents) -> None:
        self._seal = seal
        self._events = events
        self._directory = directory
        self._requests = requests

    def session(self, context: Context) -> Session | None:
        """Return the session that the request names; None: it names none.

        Raises:
            SessionNotFoundError: it names one that is none of this caller's.
        """
        ids = context.headers(SESSION_ID)
        if not ids:
            return None
        session = read_session(self._seal, ids[0].strip(" \t"), context.principal) if len(ids) == 1 else None
        if session is None:
            raise SessionNotFoundError
        return session

    def initialize(self, request: RpcRequest, server: str | None, context: Context) -> tuple[bytes, str]:
        """Return the result of a handshake, and the id of the session that begins with it."""
        version = negotiated(request.params.get("protocolVersion"))
        capabilities, client = request.params.get("capabilities"), request.params.get("clientInfo")
        result = initialized(server, None if server is None else self._directory.version(server), version)
        return msgspec.json.encode(result), issue_session(self._seal, context.principal, version, capabilities, client)

    async def result(
        self, request: RpcRequest, session: Session | None, server: str | None, context: Context, say: Say
    ) -> bytes:
        """Return the result of any other request; without a session the client is taken for one that can nothing.

        Raises:
            RpcError: there is none.
        """
        if request.method == "ping":
            return _NOTHING
        if request.method == "logging/setLevel":
            await self._set_log_level(request, session)
            return _NOTHING
        asking = self._asking(request, session, server, context, say)
        if session is None:
            return await self._requests.result(asking)
        with self._events.running(session.digest, msgspec.json.decode(request.id)):
            return await self._requests.result(asking)

    async def take(self, message: RpcNotification | RpcResponse, session: Session | None, context: Context) -> None:
        """Take what is no request; what means nothing here is passed over."""
        if isinstance(message, RpcResponse):
            await self._events.tell(
                ClientAnswered(request_id=str(message.id), caller=context.principal.id, response=message.body.decode())
            )
        elif message.method == "notifications/cancelled" and session is not None:
            request_id = message.params.get("requestId")
            if isinstance(request_id, int | str):
                await self._events.tell(ClientCancelled(session=session.digest, request_id=request_id))

    async def _set_log_level(self, request: RpcRequest, session: Session | None) -> None:
        level = request.params.get("level")
        if level not in LOG_LEVELS:
            raise RpcError(INVALID_PARAMS, "params.level must be a log level")
        if session is not None:
            await self._events.tell(ClientSetLogLevel(session=session.digest, level=level))

    def _asking(
        self, request: RpcRequest, session: Session | None, server: str | None, context: Context, say: Say
    ) -> Asking:
        # Who takes no events cannot be asked.
        capabilities = session.capabilities if session is not None and takes_events(context.headers) else {}
        client: dict[str, Any] = {CAPABILITIES_MEMBER: capabilities}
        if session is not None:
            client[LOG_LEVEL_MEMBER] = self._events.log_level(session.digest)
            if session.client is not None:
                client[CLIENT_MEMBER] = session.client
        interview = Interview(self._events, context.principal.id, capabilities, say)
        return Asking(request, server, LEGACY, client, context, say, interview)
