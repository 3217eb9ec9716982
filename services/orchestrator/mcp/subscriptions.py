"""Streams on which clients hear that lists have changed: `subscriptions/listen`, and the GET of the handshake era."""

import asyncio
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from services.orchestrator.mcp.changes import LIST_KINDS, ListChanges, Listener, ListKind
from services.orchestrator.mcp.eras import RESERVED
from services.orchestrator.mcp.events import PING, PING_S, RAW_EVENT_HEADERS, event, send_part
from services.orchestrator.mcp.jsonrpc import (
    INVALID_PARAMS,
    RpcError,
    RpcRequest,
    notification_message,
    result_message,
)
from services.orchestrator.writing import StreamedResponse, until_hung_up
from services.runtime.auth.principals import Principal

_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
_FILTERS: Final[dict[str, ListKind]] = {f"{kind}ListChanged": kind for kind in LIST_KINDS}


class ChangeStream(StreamedResponse):
    """Tells what changes until the client hangs up or the process ends."""

    def __init__(
        self,
        listening: AbstractContextManager[Listener],
        *,
        params: bytes = b"{}",
        first: bytes | None = None,
        last: bytes | None = None,
    ) -> None:
        """Listen when the reply begins.

        Args:
            listening: listens while it is open.
            params: of each notification.
            first: the message that begins the stream.
            last: the message that ends it.
        """
        super().__init__()
        self._listening = listening
        self._params = params
        self._first = first
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._listening as listener:
            hanging_up = asyncio.ensure_future(until_hung_up(receive))
            hanging_up.add_done_callback(lambda _: listener.end())
            try:
                await send({"type": "http.response.start", "status": 200, "headers": RAW_EVENT_HEADERS})
                await send_part(send, PING if self._first is None else event(self._first))
                await self._tell(listener, send)
            finally:
                hanging_up.cancel()
                await asyncio.gather(hanging_up, return_exceptions=True)

    async def _tell(self, listener: Listener, send: Send) -> None:
        while not listener.is_over:
            changed = await listener.changes(PING_S)
            for kind in changed:
                await send_part(send, event(notification_message(f"notifications/{kind}/list_changed", self._params)))
            if not changed and not listener.is_over:
                await send_part(send, PING)
        last = b"" if self._last is None else event(self._last)
        await send({"type": "http.response.body", "body": last, "more_body": False})


def subscription(request: RpcRequest, server: str | None, principal: Principal, changes: ListChanges) -> ChangeStream:
    """Return the reply to `subscriptions/listen`: of what is asked for, the changes of lists are told.

    Raises:
        RpcError: it is malformed.
    """
    wanted = request.params.get("notifications")
    if not isinstance(wanted, dict):
        raise RpcError(INVALID_PARAMS, "params.notifications must be an object")
    honoured = [name for name in _FILTERS if wanted.get(name) is True]
    meta = {RESERVED + "subscriptionId": msgspec.Raw(request.id)}
    acknowledged: dict[str, Any] = {"_meta": meta, "notifications": dict.fromkeys(honoured, True)}
    return ChangeStream(
        changes.listening(principal, server, frozenset(_FILTERS[name] for name in honoured)),
        params=msgspec.json.encode({"_meta": meta}),
        first=notification_message(_ACKNOWLEDGED, msgspec.json.encode(acknowledged)),
        last=result_message(request.id, msgspec.json.encode({"resultType": "complete", "_meta": meta})),
    )
