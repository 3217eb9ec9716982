"""Replies that nobody was there to take: NATS sends them back, and they go out again until their deadline.

An orchestrator that reconnects has no inbox for a moment. A message with a reply subject of its own is answered by
NATS with 503 where nobody listens; where somebody does, that costs no message.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count

import msgspec
from msgspec.structs import replace

from bus_schemas.calls import Headers
from services.runtime.bus import Bus, BusAwayError, BusMessage
from services.runtime.bus.connection import has_no_responders

log = logging.getLogger(__name__)

_AGAIN_AFTER_S = 0.05
_KEPT_S = 1.0
"""How long a reply may come back after it went out; the 503 comes within milliseconds."""


class Outgoing(msgspec.Struct, frozen=True, eq=False):
    """A reply, and the moment (of time.monotonic()) until which somebody waits for it."""

    bus: Bus
    to: str
    headers: Headers
    body: bytes
    deadline: float
    again_after_s: float = _AGAIN_AFTER_S
    """How long it waits if it comes back; each time twice as long: an orchestrator that has died never takes it."""


class Returns:
    """Sends replies, and sends those again that come back."""

    def __init__(self, *buses: Bus) -> None:
        self._buses = buses
        self._sent: dict[str, Outgoing] = {}
        self._kept: deque[tuple[float, str]] = deque()
        """Until when, and under which token, in the order of both."""
        self._tokens = count(1)
        self._going_again: set[asyncio.Task[None]] = set()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Of the replies that may still come back, or go again."""
        return self._held_bytes

    async def send(self, outgoing: Outgoing) -> None:
        """Send a reply; while the bus is away, wait for it as long as the caller does.

        Raises:
            MessageTooLargeError: it is over the server's max_payload.
        """
        while True:
            token = str(next(self._tokens))
            self._keep(token, outgoing)
            try:
                back = f"{outgoing.bus.inbox_prefix}.back.{token}"
                headers = outgoing.headers
                if not outgoing.bus.publish_at_once(outgoing.to, outgoing.body, headers=headers, reply=back):
                    await outgoing.bus.publish(outgoing.to, outgoing.body, headers=headers, reply=back)
            except BusAwayError:
                self._forget(token)
                if time.monotonic() >= outgoing.deadline:
                    log.warning("answer could not be delivered")
                    return
                await asyncio.sleep(_AGAIN_AFTER_S)
            else:
                return

    async def take_back(self, message: BusMessage) -> None:
        """Send again what came back, unless nobody will wait for it any more by then."""
        outgoing = self._forget(message.subject.rpartition(".")[2])
        if outgoing is None or not has_no_responders(message):
            return
        if time.monotonic() + outgoing.again_after_s >= outgoing.deadline:
            return
        task = asyncio.create_task(self._send_again(outgoing))
        self._going_again.add(task)
        task.add_done_callback(self._going_again.discard)

    async def settle(self) -> None:
        """Return when nothing that was sent can come back any more."""
        while True:
            for bus in self._buses:
                with suppress(BusAwayError):
                    await bus.fence()
            await asyncio.sleep(_AGAIN_AFTER_S)
            if not self._going_again:
                return
            await asyncio.wait(self._going_again)

    async def _send_again(self, outgoing: Outgoing) -> None:
        self._held_bytes += len(outgoing.body)
        try:
            await asyncio.sleep(outgoing.again_after_s)
            await self.send(replace(outgoing, again_after_s=2 * outgoing.again_after_s))
        finally:
            self._held_bytes -= len(outgoing.body)

    def _keep(self, token: str, outgoing: Outgoing) -> None:
        self._sent[token] = outgoing
        self._held_bytes += len(outgoing.body)
        loop = asyncio.get_running_loop()
        self._kept.append((loop.time() + _KEPT_S, token))
        if len(self._kept) == 1:
            loop.call_later(_KEPT_S, self._forget_old)

    def _forget_old(self) -> None:
        """Forget what was kept long enough: one timer for all replies, not one for each."""
        loop = asyncio.get_running_loop()
        while self._kept and self._kept[0][0] <= loop.time():
            self._forget(self._kept.popleft()[1])
        if self._kept:
            loop.call_at(self._kept[0][0], self._forget_old)

    def _forget(self, token: str) -> Outgoing | None:
        if (outgoing := self._sent.pop(token, None)) is not None:
            self._held_bytes -= len(outgoing.body)
        return outgoing


@asynccontextmanager
async def open_returns(*buses: Bus) -> AsyncIterator[Returns]:
    """Subscribe to what comes back, on each connection: NATS sends it to the one that published."""
    returns = Returns(*buses)
    async with AsyncExitStack() as stack:
        for bus in buses:
            subscription = await bus.subscribe(f"{bus.inbox_prefix}.back.*", returns.take_back)
            stack.push_async_callback(subscription.drain)
        yield returns
