"""What clients of the handshake era say beside their requests: heard by all orchestrators, for it may concern any."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from bus_schemas import subjects
from bus_schemas.clients import (
    ClientAnswered,
    ClientCancelled,
    ClientEvent,
    ClientSetLogLevel,
    decode_client_event,
)
from bus_schemas.control import AnswerAsked
from services.orchestrator.dispatch import Asked
from services.orchestrator.mcp.conversation import Say
from services.orchestrator.mcp.jsonrpc import INTERNAL_ERROR, RpcError, request_message
from services.runtime.bus import Bus, BusAwayError, BusMessage
from services.runtime.bus.connection import MessageTooLargeError

log = logging.getLogger(__name__)

DEFAULT_LOG_LEVEL: Final = "info"
"""Which messages are told until a client has set a level is the server's to say."""

_ANSWER_S: Final = 300.0
"""As long as a person may take to answer."""
_MOST_LOG_LEVELS: Final = 10_000
"""Sessions whose level is remembered; of more, those that were set last."""

RequestId = int | str


@dataclass(slots=True)
class _Running:
    """A request of a client that is being answered here."""

    task: asyncio.Task[object]
    is_cancelled: bool = False


@dataclass(slots=True)
class _Asked:
    """A request that a client has been sent from here."""

    caller: str
    response: asyncio.Future[str]


class ClientEvents:
    """Takes what clients say to where it belongs: here, or over the bus to whichever orchestrator that is."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._running: dict[tuple[str, RequestId], _Running] = {}
        self._asked: dict[str, _Asked] = {}
        self._log_levels: OrderedDict[str, str] = OrderedDict()

    def log_level(self, session: str) -> str:
        """From which level on a session is told log messages."""
        return self._log_levels.get(session, DEFAULT_LOG_LEVEL)

    @contextmanager
    def running(self, session: str, request_id: RequestId) -> Iterator[None]:
        """Let the client cancel its request, which the current task answers, for as long as the context lasts.

        Raises:
            RpcError: it has.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        running = self._running[session, request_id] = _Running(task)
        try:
            yield
        except asyncio.CancelledError:
            if not running.is_cancelled:
                raise
            task.uncancel()
            raise RpcError(INTERNAL_ERROR, "Request cancelled") from None
        finally:
            if self._running.get((session, request_id)) is running:
                del self._running[session, request_id]

    async def ask(self, caller: str, method: str, params: bytes, say: Say) -> str:
        """Send the client a request, and return its response, as JSON; over whichever orchestrator that comes.

        Args:
            caller: the id of the principal that is to answer.
            method: of the request.
            params: of the request, a JSON object.
            say: tells the client.

        Raises:
            TimeoutError: it does not answer.
        """
        request_id = f"busbar-{secrets.token_urlsafe(16)}"
        asked = self._asked[request_id] = _Asked(caller, asyncio.get_running_loop().create_future())
        try:
            say(request_message(request_id, method, params))
            async with asyncio.timeout(_ANSWER_S):
                return await asked.response
        finally:
            del self._asked[request_id]

    async def answer(self, asked: Asked, answer: str) -> None:
        """Give the worker of a call the client's answer to what its server asked; best effort."""
        order = AnswerAsked(ask_id=asked.ask_id, answer=answer)
        with suppress(BusAwayError, MessageTooLargeError):
            await self._bus.publish(subjects.control(asked.server, asked.instance), order.encode())

    async def tell(self, event: ClientEvent) -> None:
        """Take an event of a client to all whom it may concern; best effort."""
        if self._heed(event):
            return
        with suppress(BusAwayError, MessageTooLargeError):
            await self._bus.publish(subjects.CLIENT_EVENTS, event.encode())

    async def take(self, message: BusMessage) -> None:
        """Take an event that another orchestrator, or this one, has told."""
        try:
            event = decode_client_event(message.data)
        except ValueError:
            log.warning("client event is malformed")
            return
        self._heed(event)

    def _heed(self, event: ClientEvent) -> bool:
        """Do what an event says; return whether it concerns nobody else."""
        match event:
            case ClientAnswered():
                asked = self._asked.get(event.request_id)
                if asked is not None and asked.caller == event.caller and not asked.response.done():
                    asked.response.set_result(event.response)
                return asked is not None
            case ClientCancelled():
                running = self._running.get((event.session, event.request_id))
                if running is not None:
                    running.is_cancelled = True
                    running.task.cancel()
                return running is not None
            case ClientSetLogLevel():
                self._log_levels[event.session] = event.level
                self._log_levels.move_to_end(event.session)
                if len(self._log_levels) > _MOST_LOG_LEVELS:
                    self._log_levels.popitem(last=False)
                return False


@asynccontextmanager
async def hearing_clients(bus: Bus) -> AsyncIterator[ClientEvents]:
    """Hear what clients have said to any orchestrator."""
    events = ClientEvents(bus)
    subscription = await bus.subscribe(subjects.CLIENT_EVENTS, events.take)
    try:
        yield events
    finally:
        await subscription.drain()
