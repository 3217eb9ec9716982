"""What a request asks that both eras know: a list comes from the catalogue, all else goes through the query service."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from bus_schemas.calls import LOG_LEVELS
from bus_schemas.envelope import TRACEPARENT
from services.orchestrator.context import Context
from services.orchestrator.mcp.calls import KINDS, Calls, continued
from services.orchestrator.mcp.conversation import Say
from services.orchestrator.mcp.directory import Directory
from services.orchestrator.mcp.discovery import about_server
from services.orchestrator.mcp.eras import Era
from services.orchestrator.mcp.headers import LOG_LEVEL_MEMBER
from services.orchestrator.mcp.input_required import MOST_ROUNDS, Interview, input_required
from services.orchestrator.mcp.jsonrpc import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    RpcError,
    RpcRequest,
    notification_message,
    with_members,
)
from services.orchestrator.mcp.lists import LIST_METHODS, McpLists
from services.orchestrator.tracing import trace_context
from services.runtime.ids import new_id

COMPLETION: Final = "completion/complete"
CALL_METHODS: Final = frozenset({*KINDS, COMPLETION})


class Asking(msgspec.Struct, frozen=True, eq=False):
    """A request, and all that belongs to it."""

    request: RpcRequest
    server: str | None
    """The only one that is asked, by its own names; None: the fleet, by names of `/mcp`."""
    era: Era
    client: Mapping[str, Any]
    """What servers are told of the client, in the form of a `_meta` of 2026-07-28."""
    context: Context
    say: Say
    interview: Interview | None = None
    """Asks the client what a server wants to know; None: the client continues its calls itself."""


class Requests:
    """Answers them."""

    def __init__(self, directory: Directory, lists: McpLists, calls: Calls) -> None:
        self._directory = directory
        self._lists = lists
        self._calls = calls

    async def result(self, asking: Asking) -> bytes:
        """Return the result, as the caller's era knows it.

        Raises:
            RpcError: there is none.
        """
        request = asking.request
        if (kind := LIST_METHODS.get(request.method)) is not None:
            principal, cursor = asking.context.principal, request.params.get("cursor")
            page = self._lists.page(kind, principal, asking.server, cursor, asking.era)
            version = None if asking.server is None else self._directory.version(asking.server)
            return msgspec.json.encode(asking.era.listing(about_server(asking.server, version)) | page)
        if request.method in CALL_METHODS:
            return asking.era.result(request.method, await self._call(asking))
        raise RpcError(METHOD_NOT_FOUND, "Method not found", msgspec.json.encode(request.method))

    async def _call(self, asking: Asking) -> bytes:
        """Ask; where a client cannot continue a call itself, what its server wants to know is asked of it."""
        asked = self._calls.read(asking.request, asking.server, asking.era, asking.client)
        context, interview = _heard_by(asking), asking.interview
        if interview is None:
            return await self._calls.result(asked, context, asking.era)
        if interview.capabilities is not None:
            context = replace(context, on_ask=interview.hear, client_capabilities=interview.capabilities)
        try:
            for _ in range(MOST_ROUNDS):
                result = await self._calls.result(asked, context, asking.era)
                if (required := input_required(result)) is None:
                    return result
                asked = continued(asked, await interview.responses(required), required.request_state)
                context = replace(context, request_id=new_id(), received_at=time.monotonic())
        finally:
            interview.end()
        raise RpcError(INTERNAL_ERROR, "The server asks again and again")


def _heard_by(asking: Asking) -> Context:
    """Return the context of a query whose progress reaches the caller, in the trace that the request names."""
    context, meta = asking.context, asking.request.meta
    if TRACEPARENT in meta:
        context = replace(context, trace=trace_context(lambda name: [meta[name]] if _is_text(meta.get(name)) else []))
    token = meta.get("progressToken")
    if isinstance(token, str | int) and not isinstance(token, bool):
        context = replace(context, on_progress=_telling_progress(asking.say, token))
    if (level := asking.client.get(LOG_LEVEL_MEMBER)) in LOG_LEVELS:
        context = replace(context, on_log=_telling_log(asking.say), log_level=level)
    return context


def _telling_progress(say: Say, token: str | int) -> Callable[[bytes], None]:
    member = b'"progressToken":' + msgspec.json.encode(token)
    return lambda params: say(notification_message("notifications/progress", with_members(params, member)))


def _telling_log(say: Say) -> Callable[[bytes], None]:
    return lambda params: say(notification_message("notifications/message", params))


def _is_text(value: object) -> bool:
    return isinstance(value, str)
