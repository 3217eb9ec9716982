"""uvicorn's HTTP protocol, with a short way for the requests of which there are many: plain, small, and whole.

Everything else goes uvicorn's own way on the same connection, before and after: a body that is large, in chunks or slow
to come, a request that comes before the last one is answered, and whatever is malformed.
"""

import asyncio
from typing import Any, Final, cast

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.runtime.gathered_writes import GatheringTransport
from services.runtime.plain_heads import END, PlainHead, read_head

_LARGEST_BYTES: Final = 64 * 1024
"""Of a request, or of an answer, that goes the short way."""
_PATIENCE_S: Final = 1.0
"""How long a body may take to follow its head; many clients send one after the other."""


class PlainRequests(HttpToolsProtocol):
    """See the module. Made by uvicorn, one for each connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **kwargs)
        self._is_parsing = False
        """Whether uvicorn's parser is in the middle of a request."""
        self._head_block = b""
        self._head: PlainHead | None = None
        """What `_head_block` says: most clients send the same head again and again."""
        self._held = b""
        """A head whose body is still to come, and what there is of it."""
        self._giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(GatheringTransport(cast("asyncio.Transport", transport)))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._held:
            data = self._let_go() + data
        elif self._is_parsing or not (self.cycle is None or self.cycle.response_complete):
            super().data_received(data)
            return
        head, head_bytes = self._plain_head(data)
        missing = -1 if head is None else head_bytes + head.body_bytes - len(data)
        if head is not None and missing == 0:
            self._unset_keepalive_if_required()
            self._begin(head, data[head_bytes:])
        elif 0 < missing <= _LARGEST_BYTES - len(data):
            self._unset_keepalive_if_required()
            self._held = data
            self._giving_up = self.loop.call_later(_PATIENCE_S, self._give_up)
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._let_go()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called by uvicorn: answer what has begun, and no more."""
        if self._held:
            self._give_up()
        super().shutdown()

    def on_message_begin(self) -> None:
        """Called by uvicorn's parser."""
        self._is_parsing = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Called by uvicorn's parser."""
        self._is_parsing = False
        super().on_message_complete()

    def _plain_head(self, data: bytes) -> tuple[PlainHead | None, int]:
        """Return the head of the request that `data` begins with, if it is plain and small, and its length."""
        head_bytes = data.find(END, 0, _LARGEST_BYTES) + len(END)
        if head_bytes < len(END) or len(data) > _LARGEST_BYTES:
            return None, 0
        block = data[:head_bytes]
        if block != self._head_block:
            self._head_block, self._head = block, read_head(block)
        return self._head, head_bytes

    def _begin(self, head: PlainHead, body: bytes) -> None:
        self.cycle = _Cycle(
            scope={
                "type": "http",
                "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
                "http_version": "1.1",
                "server": self.server,
                "client": self.client,
                "scheme": cast("Any", self.scheme),
                "root_path": self.root_path,
                "headers": head.headers.copy(),
                "state": self.app_state.copy(),
                "method": head.method,
                "path": self.root_path + head.path,
                "raw_path": (self.root_path + head.path).encode(),
                "query_string": head.query,
            },
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        self.cycle.body += body
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._start_asgi_task(self.cycle, self.app)

    def _let_go(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        return held

    def _give_up(self) -> None:
        """Leave the request to uvicorn, which waits for its body as long as the service does."""
        super().data_received(self._let_go())


class _Cycle(RequestResponseCycle):
    """uvicorn's, in which head and body of a small answer are written in one step."""

    _start: Message | None = None
    """The head of an answer whose body follows at once."""

    async def send(self, message: Any) -> None:
        """See ASGI."""
        start, self._start = self._start, None
        if message["type"] == "http.response.start":
            if not self.response_started and _announces_body(message):
                self._start = message
                return
        elif start is not None:
            if self._write_whole(start, message):
                return
            await super().send(cast("Any", start))
        await super().send(message)

    def _write_whole(self, start: Message, message: Message) -> bool:
        """Write the answer if it is whole and need not wait for its caller; else return False, and write nothing."""
        body = message.get("body", b"")
        if message.get("more_body") or len(body) > _LARGEST_BYTES or self.flow.write_paused or self.disconnected:
            return False
        headers = [*self.default_headers, *start["headers"]]
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in headers]
        block = b"".join(lines)
        is_sound = block.count(b"\r") == block.count(b"\n") == len(lines) and b"\0" not in block
        if not is_sound or (b"content-length", b"%d" % len(body)) not in headers:
            return False
        self.response_started = self.response_complete = True
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[start["status"]], block, body))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


def _announces_body(start: Message) -> bool:
    """Whether an answer says how long it is, and nothing that changes what becomes of the connection."""
    names = [name for name, _ in start.get("headers", ())]
    return b"content-length" in names and b"connection" not in names and b"transfer-encoding" not in names
