"""The streamable HTTP transport: each request is a POST of its own on a kept-alive connection."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from bus_schemas.workers import ServerFault
from services.runtime.config.connections import Connection
from services.runtime.errors import NoWorkerError, ResultTooLargeError, UpstreamError
from services.runtime.processes import GuardedProcess
from services.runtime.racing import first_result, never
from services.worker.mcp.answering import answer
from services.worker.mcp.client import Client, open_client
from services.worker.mcp.errands import Errands
from services.worker.mcp.http_connection import HttpError, Response
from services.worker.mcp.lines import EventSplitter, TooLongError
from services.worker.mcp.messages import Message, NoMessageError, decode_message, encode_cancellation
from services.worker.mcp.session import DEAF, MAX_RESULT_BYTES, Hearing
from services.worker.mcp.transport import Exchange, ListChanges, SessionExpiredError

if TYPE_CHECKING:
    from services.worker.mcp.oauth import TokenSource

log = logging.getLogger(__name__)

_EVENTS: Final = "text/event-stream"
_SESSION_ID: Final = "mcp-session-id"
_NOT_NOW: Final = frozenset({408, 409, 429})
"""Of a stream that is asked for; 409: the server has not yet seen that the one before has ended."""
_MAX_BODY_BYTES: Final = MAX_RESULT_BYTES + 2**16


@asynccontextmanager
async def open_http(
    connection: Connection, process: GuardedProcess | None = None, tokens: "TokenSource | None" = None
) -> AsyncIterator["HttpTransport"]:
    """Open an HTTP client for the server's URL; nothing is sent yet."""
    async with open_client(connection.url or "", connection.headers, tokens) as client:
        transport = HttpTransport(client, process)
        try:
            yield transport
        finally:
            await transport.close()


class HttpTransport:
    """One URL. A request that fails harms no other."""

    is_http = True

    def __init__(self, client: Client, process: GuardedProcess | None) -> None:
        """Send requests through `client`; `process` is the server's, if it is ours."""
        self._client = client
        self._process = process
        self._errands = Errands()
        self._list_changes = ListChanges()
        self._session_id: str | None = None
        self._renewed = asyncio.Event()
        """Set, and replaced, when the session gets another id."""
        self.last_heard_at = time.monotonic()

    async def exchange(self, exchange: Exchange) -> Message:
        """See `Transport.exchange`. When cancelled, the connection is closed: that is how HTTP says it."""
        session_id = None if exchange.opens_session else self._session_id
        try:
            with await self._post(exchange.message, exchange.headers, session_id, exchange) as response:
                return await self._response(response, exchange, session_id)
        except asyncio.CancelledError:
            if session_id is not None and exchange.was_sent:
                # In the legacy era a connection that closes means nothing.
                self._errands.run(self.notify(encode_cancellation(exchange.request_id), exchange.headers))
            raise
        except HttpError as error:
            if exchange.was_sent:
                raise UpstreamError from error
            raise NoWorkerError from error

    async def notify(self, message: bytes, headers: Mapping[str, str]) -> None:
        """See `Transport.notify`."""
        try:
            with await self._post(message, headers, self._session_id):
                pass
        except HttpError as error:
            raise NoWorkerError from error

    async def listen(self, headers: Mapping[str, str]) -> None:
        """See `Transport.listen`. The stream belongs to a session: for the next one it is opened anew."""
        await first_result(self._hear(headers), self._renewed.wait())

    async def lists_changed(self) -> None:
        """See `Session.lists_changed`."""
        await self._list_changes.wait()

    async def closed(self) -> ServerFault:
        """See `Session.closed`. That a server which is not ours is away is for the probe to find."""
        if self._process is None:
            return await never()
        await self._process.wait()
        return ServerFault.PROCESS_EXITED

    async def close(self) -> None:
        """End the session at the server, if there is one, as far as that takes no time."""
        if self._session_id is not None:
            self._errands.run(self._delete(self._session_id))
        await self._errands.finish()

    async def _post(
        self, message: bytes, headers: Mapping[str, str], session_id: str | None, exchange: Exchange | None = None
    ) -> Response:
        if session_id is not None:
            headers = {**headers, _SESSION_ID: session_id}
        return await self._client.send("POST", headers, data=message, exchange=exchange)

    async def _hear(self, headers: Mapping[str, str]) -> None:
        asking = {**headers, "accept": _EVENTS}
        if self._session_id is not None:
            asking[_SESSION_ID] = self._session_id
        try:
            with await self._client.send("GET", asking) as response:
                if response.status in _NOT_NOW or response.status >= 500:
                    raise UpstreamError
                if response.status == 200 and response.content_type == _EVENTS:
                    # What was listed before may be old: nothing is said twice.
                    self._list_changes.note()
                    await self._from_events(response, headers)
                    return
        except HttpError as error:
            raise UpstreamError from error
        # 405: the server offers none. 404: it has none, or not for this session, which the next request will renew.
        await never()

    async def _delete(self, session_id: str) -> None:
        with contextlib.suppress(HttpError), await self._client.send("DELETE", {_SESSION_ID: session_id}):
            pass

    async def _response(self, response: Response, exchange: Exchange, session_id: str | None) -> Message:
        if response.headers.get("content-encoding", "identity") != "identity":
            log.warning("the server compresses its answers although it was asked not to")
            raise UpstreamError
        if response.content_type == _EVENTS:
            found = await self._from_events(response, exchange.headers, exchange.hearing)
            if found is None:
                raise UpstreamError
            message = found
        else:
            message = self._decoded(await _body(response))
        if message.id is None and session_id is not None and response.status in {400, 404}:
            # Refused before it was read: servers forget sessions, and say so in either way.
            raise SessionExpiredError
        if not message.is_response or message.id not in (exchange.request_id, None):
            raise UpstreamError
        self._keep_session_id(response.headers.get(_SESSION_ID))
        return message

    def _keep_session_id(self, given: str | None) -> None:
        if given not in (None, self._session_id):
            self._session_id = given
            self._renewed.set()
            self._renewed = asyncio.Event()

    async def _from_events(
        self, response: Response, headers: Mapping[str, str], hearing: Hearing = DEAF
    ) -> Message | None:
        """Read until a response comes; None if the stream ends without one."""
        events = EventSplitter(_MAX_BODY_BYTES)
        try:
            while chunk := await response.part():
                for event in events.feed(chunk):
                    message = self._decoded(event.data)
                    if message.is_response:
                        return message
                    await self._take(message, headers, hearing)
        except TooLongError as error:
            raise ResultTooLargeError from error
        return None

    async def _take(self, message: Message, headers: Mapping[str, str], hearing: Hearing) -> None:
        """Take what is no response."""
        if message.id is not None:
            self._errands.run(self._answer(message, headers, hearing))
        elif message.method == "notifications/progress" and hearing.progress is not None:
            hearing.progress(bytes(message.params))
        elif message.method == "notifications/message" and hearing.log is not None:
            hearing.log(bytes(message.params))
        else:
            self._list_changes.heed(message)

    async def _answer(self, request: Message, headers: Mapping[str, str], hearing: Hearing) -> None:
        """Answer a request of the server's; meanwhile its stream is read on."""
        await self.notify(await answer(request, hearing), headers)

    def _decoded(self, data: bytes) -> Message:
        try:
            message = decode_message(data)
        except NoMessageError as error:
            raise UpstreamError from error
        self.last_heard_at = time.monotonic()
        return message


async def _body(response: Response) -> bytes:
    """Read the body, and no more of it than can be a result."""
    if response.announced_bytes > _MAX_BODY_BYTES:
        raise ResultTooLargeError
    if (whole := response.whole) is not None:
        return whole
    parts: list[bytes] = []
    size = 0
    while part := await response.part():
        parts.append(part)
        size += len(part)
        if size > _MAX_BODY_BYTES:
            raise ResultTooLargeError
    return b"".join(parts)
