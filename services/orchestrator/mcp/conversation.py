"""The reply to one request: JSON, or events where something is said before the result, or that is long in coming."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fastapi import Response
from starlette.types import Receive, Scope, Send

from services.orchestrator.admission import Admission
from services.orchestrator.hanging_up import HangUp
from services.orchestrator.mcp.events import PING, PING_S, RAW_EVENT_HEADERS, event, send_part
from services.orchestrator.writing import HeldResponse, write_in_pieces

_MOST_UNSAID: Final = 256
"""Messages that a caller has not taken yet; of more the oldest are dropped."""

Say = Callable[[bytes], None]
"""Takes one JSON-RPC message for the caller, to go out before the result; never waits."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What ends a request: one JSON-RPC response, and how HTTP puts it where nothing was said before."""

    message: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Conversation(Response):
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
        self._news = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.ensure_future(self._answering(self._say))
        answering.add_done_callback(lambda _: self._news.set())
        with HangUp(receive, self._news.set) as hang_up:
            try:
                await self._has_news(PING_S if self._takes_events else None)
                if hang_up.has_happened:
                    return
                if answering.done() and not self._unsaid:
                    answered = answering.result()
                    headers = {"content-type": "application/json", **answered.headers}
                    reply = HeldResponse(answered.message, answered.status, headers, self._admission)
                    await reply(scope, receive, send)
                else:
                    await self._stream(answering, hang_up, send)
            finally:
                if hang_up.has_happened or not answering.done():
                    answering.cancel()
                    await asyncio.gather(answering, return_exceptions=True)

    async def _stream(self, answering: asyncio.Future[Answered], hang_up: HangUp, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": RAW_EVENT_HEADERS})
        while not hang_up.has_happened:
            while self._unsaid:
                await send_part(send, event(self._unsaid.popleft()))
            if answering.done():
                with self._admission.holding() as hold:
                    last = event(answering.result().message)
                    hold.add(len(last))
                    await write_in_pieces(last, send)
                return
            if not await self._has_news(PING_S):
                await send_part(send, PING)

    def _say(self, message: bytes) -> None:
        if self._takes_events:
            self._unsaid.append(message)
            self._news.set()

    async def _has_news(self, within_s: float | None) -> bool:
        """Wait for what there is to say, for the answer, or for the caller to hang up."""
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True
