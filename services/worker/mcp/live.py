"""The session: a transport and an era put together; the one implementation of the port."""

import asyncio
import itertools
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from bus_schemas.workers import ServerFault
from services.runtime.errors import DeadlineExceededError, DeadlinePassedError, UpstreamError, UpstreamRefusedError
from services.runtime.mirrored_headers import HeaderMap, header_map
from services.runtime.time_limits import TimeLimit
from services.worker.mcp.eras import Era
from services.worker.mcp.listing import list_catalogue
from services.worker.mcp.messages import encode_notification, encode_request, outcome
from services.worker.mcp.mirroring import mirrored_headers
from services.worker.mcp.session import DEAF, NOTHING, Hearing, ListedCatalogue, ServerInfo, SessionForgottenError
from services.worker.mcp.transport import Exchange, SessionExpiredError, Transport

log = logging.getLogger(__name__)

GREET_TIMEOUT_S: Final = 10.0
LIST_TIMEOUT_S: Final = 10.0


class LiveSession:
    """See `Session`."""

    def __init__(self, transport: Transport, era: Era, *, configured_headers: Collection[str] = ()) -> None:
        """Take an open transport; the server must be greeted before anything else.

        Args:
            transport: carries the requests.
            era: says what the protocol adds to them.
            configured_headers: names that no caller's header may have: the transport sends the operator's.
        """
        self._transport = transport
        self._era = era
        self._configured_headers = configured_headers
        self._server_info = ServerInfo(name="", version="", protocol_version="", era=era.name)
        self._ids = itertools.count(1)
        self._header_maps: dict[str, HeaderMap] = {}
        self._greeting = asyncio.Lock()
        self._greetings = 0
        self.renews = True

    @property
    def server_info(self) -> ServerInfo:
        """See `Session.server_info`."""
        return self._server_info

    @property
    def last_heard_at(self) -> float:
        """See `Session.last_heard_at`."""
        return self._transport.last_heard_at

    async def greet(self, timeout_s: float = GREET_TIMEOUT_S) -> None:
        """Open the conversation in this era.

        Raises:
            UpstreamRefusedError: the server does not speak it.
            QueryError: as for `request`.
        """
        self._server_info = await self._era.greet(self, timeout_s)
        self._greetings += 1

    async def request(
        self,
        method: str,
        params: bytes,
        *,
        timeout_s: float,
        meta: Mapping[str, Any] = NOTHING,
        headers: Mapping[str, str] = NOTHING,
        hearing: Hearing = DEAF,
    ) -> bytes:
        """See `Session.request`."""
        request_id = next(self._ids)
        stamped = self._era.meta(meta, None if hearing.progress is None else request_id)
        exchange = Exchange(
            request_id,
            encode_request(request_id, method, params, stamped),
            self._headers(method, params, headers),
            opens_session=method == "initialize",
            hearing=hearing,
        )
        try:
            with TimeLimit(timeout_s):
                return await self._exchange(exchange)
        except TimeoutError:
            raise (DeadlineExceededError if exchange.was_sent else DeadlinePassedError) from None

    async def subscribe(self, method: str, params: bytes) -> None:
        """Send a request whose response comes when the server has no more to say; return then.

        Raises:
            QueryError: as for `request`.
        """
        request_id = next(self._ids)
        message = encode_request(request_id, method, params, self._era.meta(NOTHING, None))
        headers = self._headers(method, params, NOTHING)
        outcome(await self._transport.exchange(Exchange(request_id, message, headers, is_subscription=True)))

    async def hear(self) -> None:
        """Listen to the server's own stream; see `Transport.listen`."""
        await self._transport.listen(self._era.headers())

    async def notify(self, method: str) -> None:
        """Send a notification without params."""
        await self._transport.notify(encode_notification(method, {}), self._era.headers())

    async def catalogue(self) -> ListedCatalogue:
        """See `Session.catalogue`."""

        async def request(method: str, params: bytes) -> bytes:
            return await self.request(method, params, timeout_s=LIST_TIMEOUT_S)

        found = await list_catalogue(request, self._server_info.capabilities)
        if self._transport.is_http and self._era.mirrors_requests:
            self._learn_headers(found.tools)
        return found

    async def probe(self, timeout_s: float) -> float:
        """See `Session.probe`."""
        began = time.monotonic()
        try:
            await self.request(self._era.probe_method, b"{}", timeout_s=timeout_s)
        except UpstreamRefusedError as error:
            if self._era.must_answer_probe:
                raise UpstreamError from error
        return time.monotonic() - began

    async def listen(self) -> None:
        """See `Session.listen`."""
        await self._era.listen(self, self._server_info.capabilities)

    async def lists_changed(self) -> None:
        """See `Session.lists_changed`."""
        await self._transport.lists_changed()

    async def closed(self) -> ServerFault:
        """See `Session.closed`."""
        return await self._transport.closed()

    async def _exchange(self, exchange: Exchange) -> bytes:
        greetings = self._greetings
        try:
            return outcome(await self._transport.exchange(exchange))
        except SessionExpiredError as error:
            if not self.renews:
                raise SessionForgottenError from error
            exchange.was_sent = False
        async with self._greeting:
            # Of all the calls that found it expired, one shakes hands anew.
            if greetings == self._greetings:
                log.info("the server has forgotten the session")
                await self.greet()
        try:
            return outcome(await self._transport.exchange(exchange))
        except SessionExpiredError as error:
            raise UpstreamError from error

    def _headers(self, method: str, params: bytes, callers: Mapping[str, str]) -> Mapping[str, str]:
        if not self._transport.is_http:
            return NOTHING
        headers = {name: value for name, value in callers.items() if name not in self._configured_headers}
        headers |= self._era.headers()
        if self._era.mirrors_requests:
            headers |= mirrored_headers(method, params, self._header_maps)
        return headers

    def _learn_headers(self, tools: list[dict[str, Any]]) -> None:
        """Note which arguments are mirrored, and drop the tools that ask for what must not be done."""
        maps: dict[str, HeaderMap] = {}
        for tool in list(tools):
            try:
                if mirrored := header_map(tool.get("inputSchema")):
                    maps[str(tool.get("name"))] = mirrored
            except ValueError as error:
                log.warning("a tool is not offered", extra={"cause": str(error)})
                tools.remove(tool)
        self._header_maps = maps
