"""uvicorn's HTTP protocol, with a short way for the requests of which there are many: plain, small, and whole.

Everything else goes uvicorn's own way on the same connection, before and after: a body that is large, in chunks or slow
to come, a request that comes before the last one is answered, and whatever is malformed.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.runtime.gathered_writes import GatheringTransport
from services.runtime.plain_heads import END, PlainHead, read_head
from services.runtime.short_cycle import ShortCycle

_LARGEST_BYTES: Final = 64 * 1024
"""Of a request that goes the short way."""
_LARGEST_HEAD_BYTES: Final = 8 * 1024
_PATIENCE_S: Final = 1.0
"""How long a body may take to follow its head; many clients send one after the other."""

Answering = Callable[[Mapping[str, Any], bytes, Send], Awaitable[Response | None]]
"""Answers one request; it is cancelled when its caller has gone.

Takes the lifespan's state, the body, and what sends ASGI's messages to the caller. None: the answer went out by that.
"""


class DirectApp(ABC):
    """An ASGI app that answers some plain requests without ASGI's scope, messages and layers."""

    @abstractmethod
    def direct(self, head: PlainHead) -> Answering | None:
        """Return what answers all requests with this head; None: ASGI does."""

    @abstractmethod
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""


class PlainRequests(HttpToolsProtocol):
    """See the module. Made by uvicorn, one for each connection."""

    def __init__(self, *, app: DirectApp | None = None, **kwargs: Any) -> None:
        """Take what uvicorn gives, and what answers directly, if anything does."""
        super().__init__(**kwargs)
        self._app = app
        self._is_parsing = False
        """Whether uvicorn's parser is in the middle of a request."""
        self._head_block = b""
        self._head: PlainHead | None = None
        """What `_head_block` says: most clients send the same head again and again."""
        self._answering: Answering | None = None
        """What answers it directly."""
        self._direct: ShortCycle
        """Of all requests that are answered directly."""
        self._task: asyncio.Task[None] | None = None
        self._held = b""
        """A head whose body is still to come, and what there is of it."""
        self._giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(GatheringTransport(cast("asyncio.Transport", transport)))
        self._direct = self._new_cycle(PlainHead("POST", "", b"", [], 0))

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
        if self._task is not None:
            self._task.cancel()
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
        head_bytes = data.find(END, 0, _LARGEST_HEAD_BYTES) + len(END)
        if head_bytes < len(END) or len(data) > _LARGEST_BYTES:
            return None, 0
        block = data[:head_bytes]
        if block != self._head_block:
            self._head_block, self._head = block, read_head(block)
            self._answering = None if self._app is None or self._head is None else self._app.direct(self._head)
        return self._head, head_bytes

    def _begin(self, head: PlainHead, body: bytes) -> None:
        if self._answering is not None:
            self._direct.begin_anew(self.server_state.default_headers, self.on_response_complete)
            self.cycle = self._direct
            self._task = self.loop.create_task(self._answer_directly(self._answering, body))
            self.tasks.add(self._task)
            self._task.add_done_callback(self.tasks.discard)
            return
        self.cycle = self._new_cycle(head)
        self.cycle.body += body
        self._start_asgi_task(self.cycle, self.app)

    def _new_cycle(self, head: PlainHead) -> ShortCycle:
        """Return the cycle of a request that has come whole, as uvicorn would make it."""
        cycle = ShortCycle(
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
        cycle.more_body = False
        cycle.message_event.set()
        return cycle

    async def _answer_directly(self, answering: Answering, body: bytes) -> None:
        cycle = self._direct
        try:
            response = await answering(self.app_state, body, cycle.send)
            if response is None or cycle.response_started:
                return
            if not cycle.write_whole(response.status_code, response.raw_headers, bytes(response.body)):
                await response(cast("Any", cycle.scope), cast("Any", cycle.receive), cycle.send)
        finally:
            # An answer that another task has ended may have been followed by the next request.
            if self._task is asyncio.current_task():
                self._task = None  # one that was cancelled has our frames, and they the answer
                if not cycle.response_complete:
                    self.transport.close()  # cut off: by a bug, or by the end of the drain

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
