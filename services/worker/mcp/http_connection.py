"""One HTTP/1.1 connection to a server: one request after another, each when the response before it is whole.

Every call over HTTP goes through here, so it does what an MCP client needs and nothing else: no redirects, no cookies,
no proxies, no compressed bodies. Source: RFC 9112; messages are taken apart by llhttp, the parser of Node and uvicorn.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self, cast

import httptools

from services.runtime.gathered_writes import GatheringTransport
from services.runtime.plain_heads import BODILESS, END, read_response_head

_MOST_BODILESS_BYTES: Final = 2**16
"""Of what comes without any of a body: a head, or trailers, that never end."""
_MOST_UNREAD_BYTES: Final = 2**18
"""Of a body that comes faster than it is read; then the server has to wait."""
_REST_S: Final = 1.0
"""How long the rest of a response that nobody wants may take; most streams of events end right after their answer."""


class HttpError(Exception):
    """There is no response, or not all of it."""


class Response:
    """The answer to one request; as a context it ends with it: what has not been read by then is not wanted."""

    def __init__(
        self, connection: "HttpConnection", status: int, headers: Mapping[str, str], whole: bytes | None = None
    ) -> None:
        self._connection = connection
        self._parts: deque[bytes] = deque((whole,) if whole else ())
        self._unread_bytes = 0
        self._is_whole = whole is not None
        self._error: HttpError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.status = status
        self.headers = headers
        """Names in lower case; the values of one that came several times are separated by commas."""
        self.whole = whole
        """The body, where all of it came at once; None: it is to be had in parts."""

    @property
    def content_type(self) -> str:
        """Without its parameters, in lower case; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def announced_bytes(self) -> int:
        """How long the body is said to be; 0 if that is not said."""
        announced = self.headers.get("content-length", "")
        return int(announced) if announced.isdecimal() else 0

    async def part(self) -> bytes:
        """Return the next part of the body; empty: there is no more.

        Raises:
            HttpError: it breaks off.
        """
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._is_whole:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        part = self._parts.popleft()
        self._unread_bytes -= len(part)
        if not self._is_whole:  # else the connection may be somebody else's by now
            self._connection.read_on(self._unread_bytes)
        return part

    def take(self, part: bytes) -> int:
        """Take the next part of the body; return how much is unread now, in bytes."""
        self._parts.append(part)
        self._unread_bytes += len(part)
        self._wake()
        return self._unread_bytes

    def end(self, error: HttpError | None = None) -> None:
        """There is no more of it, or it broke off."""
        self._is_whole = error is None
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_whole:
            return
        if kind is None:
            self._connection.drop_rest()
        else:
            self._connection.abort()


class HttpConnection(asyncio.Protocol):
    """See the module; `on_free` is told when the next request may go out, `on_lost` when none ever will."""

    def __init__(
        self, on_free: Callable[["HttpConnection"], None], on_lost: Callable[["HttpConnection"], None]
    ) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        # As aiohttp does, and for the same servers.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._asked: asyncio.Future[Response] | None = None
        """Of the request that is under way, until its response is whole."""
        self._response: Response | None = None
        self._headers: dict[str, str] = {}
        self._body_bytes = 0
        self._is_parsing = False
        """Whether some of the response has come, and was left to the parser."""
        self._bodiless_bytes = 0
        """Since there was something of a body."""
        self._is_reading = True
        self._has_ended = False
        self._dropping: asyncio.TimerHandle | None = None
        """Runs while the rest of a response is read for nobody."""
        self.free_since = 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and not self._has_ended

    async def ask(self, request: bytes, on_sent: Callable[[], None]) -> Response:
        """Send one request and return its response as soon as its headers are there.

        Args:
            request: head and body.
            on_sent: is called once the server may have read any of it.

        Raises:
            HttpError: the connection was lost before.
            asyncio.CancelledError: the connection is lost with it.
        """
        if self._transport is None or not self.is_open:
            raise HttpError
        asked: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._asked = asked
        self._response, self._headers, self._is_parsing = None, {}, False
        self._body_bytes = self._bodiless_bytes = 0
        self._transport.write(request)
        on_sent()
        try:
            return await asked
        except asyncio.CancelledError:
            if self._asked is asked:  # else all has come in the same moment, and the connection is somebody else's
                self.abort()
            raise

    def read_on(self, unread_bytes: int) -> None:
        """Go on reading if that was stopped, and enough has been read of what had come."""
        if self._is_reading or unread_bytes > _MOST_UNREAD_BYTES:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def drop_rest(self) -> None:
        """Read the rest of the response for nobody if it comes soon and is small; else the connection is lost."""
        self._dropping = asyncio.get_running_loop().call_later(_REST_S, self.abort)
        self._body_bytes = 0
        self.read_on(0)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once: what is under way is not wanted any more."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = GatheringTransport(cast("asyncio.Transport", transport))  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._asked is None:
            self.abort()  # nobody has asked for anything
            return
        if not self._is_parsing and self._take_whole(data):
            return
        self._is_parsing = True
        body_bytes = self._body_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail()
            return
        self._bodiless_bytes = self._bodiless_bytes + len(data) if self._body_bytes == body_bytes else 0
        if self._asked is not None and self._bodiless_bytes > _MOST_BODILESS_BYTES:
            self._fail()

    def eof_received(self) -> None:
        """See asyncio.Protocol. Over TLS there is a moment until the connection is lost."""
        self._has_ended = True

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        response = self._response
        if response is not None and error is None and self._ends_with_connection(response):
            self._asked = self._response = None
            response.end()
        else:
            self._fail()
        self._stop_dropping()
        self._on_lost(self)
        del self._parser  # it refers to us

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._asked is None:
            self.abort()  # two responses to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if self._response is not None:
            return  # a trailer
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        headers, self._headers = self._headers, {}
        status = self._parser.get_status_code()
        if status < 200:
            return  # something is said on the way: the response is still to come
        self._response = Response(self, status, headers)
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(self._response)

    def on_body(self, part: bytes) -> None:
        """Called by the parser."""
        self._body_bytes += len(part)
        if self._dropping is not None:
            if self._body_bytes > _MOST_UNREAD_BYTES:
                self.abort()
        elif self._response is not None and self._response.take(part) > _MOST_UNREAD_BYTES and self._is_reading:
            self._is_reading = False
            cast("asyncio.Transport", self._transport).pause_reading()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        response = self._response
        if response is None:
            return
        self._asked = self._response = None
        self._stop_dropping()
        response.end()
        self.read_on(0)
        if self._parser.should_keep_alive():
            self._on_free(self)
        else:
            self.close()

    def _take_whole(self, data: bytes) -> bool:
        """Take a response that is plain and has come in one piece, as most do; False: it is left to the parser."""
        body_at = data.find(END, 0, _MOST_BODILESS_BYTES) + len(END)
        head = None if body_at < len(END) else read_response_head(data[:body_at])
        if head is None or len(data) != body_at + head.body_bytes:
            return False
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_result(Response(self, head.status, head.headers, data[body_at:]))
        self._on_free(self)
        return True

    def _ends_with_connection(self, response: Response) -> bool:
        """Whether the body is as long as the connection lives. Source: RFC 9112, section 6.3."""
        is_chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()
        return not is_chunked and "content-length" not in response.headers and response.status not in BODILESS

    def _stop_dropping(self) -> None:
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None

    def _fail(self) -> None:
        """Nothing more comes, or nothing that can be understood."""
        asked, response = self._asked, self._response
        self._asked = self._response = None
        if response is not None:
            response.end(HttpError())
        elif asked is not None and not asked.done():
            asked.set_exception(HttpError())
        self.abort()
