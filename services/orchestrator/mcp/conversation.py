"""The reply to one request: JSON, or events where something is said before the result, or that is long in coming."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from fastapi import Response
from starlette.types import Receive, Scope, Send

from services.orchestrator.admission import Admission
from services.orchestrator.hanging_up import while_connected
from services.orchestrator.mcp.events import PING, PING_S, RAW_EVENT_HEADERS, event, send_part
from services.orchestrator.writing import HeldResponse, StreamedResponse, write_in_pieces

_MOST_UNSAID: Final = 256
"""Messages that a caller has not taken yet; of more the oldest are dropped."""

Say = Callable[[bytes], None]
"""Takes one JSON-RPC message for the caller, to go out before the result; never waits."""


class Answered(msgspec.Struct, frozen=True, eq=False):
    """What ends a request: one JSON-RPC response, and how HTTP puts it where nothing was said before."""

    message: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


class Conversation(StreamedResponse):
    """Answers a request while its caller listens; when the caller hangs up, the work on it is cancelled."""

    def __init__(
        self, answering: Callable[[Say], Awaitable[Answered]], admission: Admission, *, takes_events: bool
    ) -> None:
        """Take the work.

        Args:
            answering: returns how the request ends.
            admission: counts what the caller has not taken.
            takes_events: whether the caller does; else what is said before the result is dropped.
        """
        super().__init__()
        self._answering = answering
        self._admission = admission
        self._takes_events = takes_events
        self._unsaid: deque[bytes] = deque(maxlen=_MOST_UNSAID)
        self._last: bytes | None = None
        """The event that ends a stream."""
        self._streaming: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._send: Send
        """To the caller; there while the work is done."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await while_connected(receive, self.run(send))
        if reply is not None:
            await reply(scope, receive, send)

    async def run(self, send: Send) -> Response | None:
        """Do the work, and return the reply to it; None: it went out as events, by `send`.

        Raises:
            asyncio.CancelledError: the caller has gone; so has the work.
        """
        self._send = send
        silence = asyncio.get_running_loop().call_later(PING_S, self._begin) if self._takes_events else None
        try:
            answered = await self._answering(self._say)
            if self._streaming is None:
                headers = {"content-type": "application/json", **answered.headers}
                return HeldResponse(answered.message, answered.status, headers, self._admission)
            self._last = event(answered.message)
            del answered
            with self._admission.holding() as hold:
                hold.add(len(self._last))
                self._news.set()
                await self._streaming
        finally:
            if silence is not None:
                silence.cancel()
            streaming, self._streaming = self._streaming, None  # one that was cancelled has our frames
            if streaming is not None and not streaming.done():
                streaming.cancel()
                await asyncio.gather(streaming, return_exceptions=True)
        return None

    def _say(self, message: bytes) -> None:
        if self._takes_events:
            self._unsaid.append(message)
            self._news.set()
            self._begin()

    def _begin(self) -> None:
        """Begin a stream, unless there is one: something is said, or nothing was said for long."""
        if self._streaming is None:
            self._streaming = asyncio.get_running_loop().create_task(self._stream(self._send))

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": RAW_EVENT_HEADERS})
        while True:
            while self._unsaid:
                await send_part(send, event(self._unsaid.popleft()))
            if self._last is not None:
                await write_in_pieces(self._last, send)
                return
            try:
                async with asyncio.timeout(PING_S):
                    await self._news.wait()
                self._news.clear()
            except TimeoutError:
                await send_part(send, PING)
