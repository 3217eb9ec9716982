"""The old HTTP+SSE transport (2024-11-05): requests are POSTed, all responses come on one stream that stays open."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, Never

import msgspec
from yarl import URL

from bus_schemas.workers import ServerFault
from services.runtime.config.connections import Connection
from services.runtime.errors import NoWorkerError, UpstreamError
from services.runtime.processes import GuardedProcess
from services.runtime.racing import first_result, never
from services.worker.mcp.client import Client, open_client
from services.worker.mcp.eras import CLIENT_INFO, LEGACY_VERSIONS
from services.worker.mcp.errands import Errands
from services.worker.mcp.http_connection import HttpError, Response
from services.worker.mcp.http_pool import ConnectTimeoutError
from services.worker.mcp.lines import Event, EventSplitter
from services.worker.mcp.messages import Message, encode_cancellation, encode_request
from services.worker.mcp.pending import MAX_MESSAGE_BYTES, PendingExchanges
from services.worker.mcp.session import OpenError
from services.worker.mcp.transport import Exchange

if TYPE_CHECKING:
    from services.worker.mcp.oauth import TokenSource

log = logging.getLogger(__name__)

ENDPOINT_TIMEOUT_S: Final = 10.0
"""How long the server may take to answer, and then to name its endpoint."""

_EXIT_S: Final = 0.5
_KEPT_OUT: Final = frozenset({401, 403})
_GREETING: Final = encode_request(
    1,
    "initialize",
    msgspec.json.encode({"protocolVersion": LEGACY_VERSIONS[0], "capabilities": {}, "clientInfo": CLIENT_INFO}),
    {},
)


async def refuses_post(connection: Connection, tokens: "TokenSource | None" = None) -> bool:
    """Whether the URL refuses a greeting by POST with a 4xx, as a server of this transport does.

    The specification's own rule for telling the two apart ("Backwards compatibility" of 2025-03-26 and later). One that
    does not let us in says nothing of its transport. The caller knows that the answer is no JSON-RPC.

    Raises:
        NoWorkerError: it wants a token, and there is none.
    """
    try:
        async with (
            asyncio.timeout(ENDPOINT_TIMEOUT_S),
            open_client(connection.url or "", connection.headers, tokens) as client,
        ):
            with await client.send("POST", {}, data=_GREETING) as response:
                return 400 <= response.status < 500 and response.status not in _KEPT_OUT
    except (HttpError, TimeoutError):
        return False


@asynccontextmanager
async def open_sse(
    connection: Connection, process: GuardedProcess | None = None, tokens: "TokenSource | None" = None
) -> AsyncIterator["SseTransport"]:
    """Open the stream and learn where to send.

    Raises:
        OpenError: there is no server, or not one of this kind.
        NoWorkerError: it wants a token, and there is none.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(connection.url or "", connection.headers, tokens))
        try:
            async with asyncio.timeout(ENDPOINT_TIMEOUT_S):
                stream = stack.enter_context(await client.send("GET", {"accept": "text/event-stream"}))
        except ConnectTimeoutError as error:
            raise OpenError(ServerFault.CONNECTION_TIMEOUT) from error
        except HttpError as error:
            raise OpenError(ServerFault.CONNECTION_REFUSED) from error
        except TimeoutError as error:
            raise OpenError(ServerFault.NOT_RESPONDING) from error
        if stream.status != 200 or stream.content_type != "text/event-stream":
            raise OpenError(ServerFault.PROTOCOL_ERROR)
        transport = SseTransport(client, stream, process)
        stack.push_async_callback(transport.close)
        await transport.find_endpoint()
        yield transport


class SseTransport:
    """One stream of the server's messages, shared by all callers."""

    is_http = True

    def __init__(self, client: Client, stream: Response, process: GuardedProcess | None) -> None:
        """Begin to listen to `stream`; requests go through `client`; `process` is the server's, if it is ours."""
        self._client = client
        self._stream = stream
        self._process = process
        self._pending = PendingExchanges()
        self._errands = Errands()
        self._endpoint: asyncio.Future[URL] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen(), name="mcp-sse")

    @property
    def last_heard_at(self) -> float:
        """See `Session.last_heard_at`."""
        return self._pending.last_heard_at

    async def exchange(self, exchange: Exchange) -> Message:
        """See `Transport.exchange`."""
        with self._pending.expected(exchange) as response:
            try:
                await self._post(exchange.message, exchange.headers, exchange)
                return await response
            except asyncio.CancelledError:
                if exchange.was_sent:
                    self._errands.run(self.notify(encode_cancellation(exchange.request_id), exchange.headers))
                raise

    async def notify(self, message: bytes, headers: Mapping[str, str]) -> None:
        """See `Transport.notify`."""
        try:
            await self._post(message, headers)
        except UpstreamError as error:
            raise NoWorkerError from error

    async def listen(self, headers: Mapping[str, str]) -> None:
        """See `Transport.listen`. Everything comes on the one stream."""
        await never()

    async def lists_changed(self) -> None:
        """See `Session.lists_changed`."""
        await self._pending.lists_changed()

    async def closed(self) -> ServerFault:
        """See `Session.closed`."""
        fault = await asyncio.shield(self._listening)
        if self._process is not None:
            # The stream ends a moment before the process does.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EXIT_S):
                    await self._process.wait()
                    return ServerFault.PROCESS_EXITED
        return fault

    async def find_endpoint(self) -> None:
        """Wait until the server has said where requests go.

        Raises:
            OpenError: it does not, or names another host.
        """

        async def lost() -> Never:
            raise OpenError(await self.closed())

        try:
            async with asyncio.timeout(ENDPOINT_TIMEOUT_S):
                await first_result(asyncio.shield(self._endpoint), lost())
        except TimeoutError:
            raise OpenError(ServerFault.NOT_RESPONDING) from None

    async def close(self) -> None:
        """Stop listening."""
        await self._errands.finish()
        self._listening.cancel()
        await asyncio.wait([self._listening])

    async def _post(self, message: bytes, headers: Mapping[str, str], exchange: Exchange | None = None) -> None:
        if self._listening.done():
            raise NoWorkerError
        try:
            with await self._client.send(
                "POST", headers, url=self._endpoint.result(), data=message, exchange=exchange
            ) as response:
                if not 200 <= response.status < 300:
                    raise UpstreamError
        except HttpError as error:
            if exchange is not None and exchange.was_sent:
                raise UpstreamError from error
            raise NoWorkerError from error

    async def _listen(self) -> ServerFault:
        events = EventSplitter(MAX_MESSAGE_BYTES)
        try:
            while chunk := await self._stream.part():
                for event in events.feed(chunk):
                    self._take(event)
            return ServerFault.CONNECTION_REFUSED
        except HttpError:
            return ServerFault.CONNECTION_REFUSED
        except ValueError as error:
            log.warning("the server broke the protocol", extra={"cause": type(error).__name__})
            return ServerFault.PROTOCOL_ERROR
        finally:
            self._pending.fail()

    def _take(self, event: Event) -> None:
        if event.kind == b"endpoint" and not self._endpoint.done():
            endpoint = self._client.url.join(URL(event.data.decode()))
            if endpoint.origin() != self._client.url.origin():
                # Our credentials would go there.
                raise ValueError("the endpoint is elsewhere")
            self._endpoint.set_result(endpoint)
        elif event.kind == b"message" and (answering := self._pending.take(event.data)) is not None:
            self._errands.run(self._send_back(answering))

    async def _send_back(self, answering: Awaitable[bytes]) -> None:
        await self.notify(await answering, {})
