"""Which response belongs to which request, where all of a server's messages come in one stream."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from services.runtime.errors import QueryError, ResultTooLargeError, UpstreamError
from services.runtime.outlines import decode_outline
from services.worker.mcp.answering import answer
from services.worker.mcp.lines import CutLine
from services.worker.mcp.messages import Message, NoMessageError, decode_message, id_at_ends, salvage_id
from services.worker.mcp.session import DEAF, Hearing
from services.worker.mcp.transport import Exchange, ListChanges

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 32 * 2**20
"""Above the cap on results, so that what is a little too large costs its own call and not the session."""


class _Cancelled(msgspec.Struct):
    request_id: int | float | str | None = msgspec.field(default=None, name="requestId")


class _ProgressToken(msgspec.Struct):
    progress_token: int | float | str | None = msgspec.field(default=None, name="progressToken")


_cancelled_decoder = msgspec.json.Decoder(_Cancelled)
_token_decoder = msgspec.json.Decoder(_ProgressToken)


class PendingExchanges:
    """The requests that wait for a response on one stream."""

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: dict[object, tuple[Exchange, asyncio.Future[Message]]] = {}
        self._list_changes = ListChanges()
        self.last_heard_at = time.monotonic()

    @contextmanager
    def expected(self, exchange: Exchange) -> Iterator[asyncio.Future[Message]]:
        """Expect the response to one request for as long as the context is open."""
        response: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[exchange.request_id] = (exchange, response)
        try:
            yield response
        finally:
            del self._waiting[exchange.request_id]

    async def lists_changed(self) -> None:
        """See `Session.lists_changed`."""
        await self._list_changes.wait()

    def fail(self) -> None:
        """Tell all who wait that the stream has ended."""
        for _, response in self._waiting.values():
            if not response.done():
                response.set_exception(UpstreamError())

    def take(self, data: bytes) -> Coroutine[Any, Any, bytes] | None:
        """Give a message to whom it is for; return what comes to be sent back, if anything does.

        What is no message is passed over: many servers print to their stdout. A broken response fails its request.
        """
        try:
            message = decode_message(data)
        except NoMessageError:
            if data.strip():
                log.debug("the server wrote what is no message")
                self._resolve(salvage_id(data), UpstreamError())
            return None
        self.last_heard_at = time.monotonic()
        if message.is_response:
            self._resolve(message.id, message)
        elif message.id is not None:
            return answer(message, self._of_the_one_that_runs())
        elif message.method == "notifications/progress":
            self._progress(message)
        elif message.method == "notifications/message":
            self._log(message)
        elif message.method == "notifications/cancelled":
            self._end_subscription(message)
        else:
            self._list_changes.heed(message)
        return None

    def take_cut(self, line: CutLine) -> bool:
        """Fail the request whose response is too long to keep; return False if it does not say whose it is."""
        request_id = id_at_ends(line)
        if request_id is not None:
            self._resolve(request_id, ResultTooLargeError())
        return request_id is not None

    def _resolve(self, request_id: object, outcome: Message | QueryError) -> None:
        # Late responses to cancelled requests are nobody's.
        _, response = self._waiting.get(request_id, (None, None))
        if response is None or response.done():
            return
        if isinstance(outcome, QueryError):
            response.set_exception(outcome)
        else:
            response.set_result(outcome)

    def _end_subscription(self, notification: Message) -> None:
        """End what the server will say no more to; anything else that it cancels are requests of its own."""
        try:
            request_id = decode_outline(_cancelled_decoder, bytes(notification.params)).request_id
        except msgspec.DecodeError:
            return
        exchange, _ = self._waiting.get(request_id, (None, None))
        if exchange is not None and exchange.is_subscription:
            self._resolve(request_id, UpstreamError())

    def _progress(self, notification: Message) -> None:
        try:
            token = decode_outline(_token_decoder, bytes(notification.params)).progress_token
        except msgspec.DecodeError:
            return
        exchange, _ = self._waiting.get(token, (None, None))
        if exchange is not None and exchange.hearing.progress is not None:
            exchange.hearing.progress(bytes(notification.params))

    def _log(self, notification: Message) -> None:
        hearing = self._of_the_one_that_runs()
        if hearing.log is not None:
            hearing.log(bytes(notification.params))

    def _of_the_one_that_runs(self) -> Hearing:
        """Who hears what does not say which request it belongs to: where several run, nobody does."""
        running = [exchange for exchange, _ in self._waiting.values() if not exchange.is_subscription]
        return running[0].hearing if len(running) == 1 else DEAF
