"""One subscription for all replies of a process; an exchange may get several, one may be enough."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from nats.aio.msg import Msg

from services.runtime.bus.connection import Bus, has_no_responders


class NoRespondersError(Exception):
    """Nobody listens on the subject: certainly nothing was done."""


class Exchange:
    """The replies to one request, in order. Made by `Inbox.expect`."""

    def __init__(self, inbox: "Inbox", token: str, reply_to: str) -> None:
        self._inbox = inbox
        self._token = token
        self._arrived: deque[Msg | Exception] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.reply_to = reply_to

    async def next(self) -> Msg:
        """Return the next reply.

        Raises:
            NoRespondersError: nobody listens on the subject asked.
            Exception: what `fail` was given.
        """
        while not self._arrived:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        reply = self._arrived.popleft()
        if isinstance(reply, Exception):
            raise reply
        if has_no_responders(reply):
            raise NoRespondersError
        return reply

    def fail(self, error: Exception) -> None:
        """Let `next` raise `error`, after the replies that have already come."""
        self._take(error)

    def _take(self, reply: Msg | Exception) -> None:
        self._arrived.append(reply)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self._inbox._forget(self._token)


class Inbox:
    """Hands each reply to the exchange it belongs to; one that nobody expects any more is dropped."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._exchanges: dict[str, Exchange] = {}
        self._prefix = f"{bus.inbox_prefix}.r."

    def expect(self) -> Exchange:
        """Open an exchange; use it as a context, so that it ends.

        Its token cannot be guessed: who may send replies here at all cannot send them in another's place.
        """
        token = os.urandom(8).hex()
        exchange = Exchange(self, token, self._prefix + token)
        self._exchanges[token] = exchange
        return exchange

    async def ask(
        self, subject: str, payload: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Return the first reply.

        Raises:
            NoRespondersError: nobody listens.
            BusAwayError: there is no connection.
            TimeoutError: no reply came in `timeout_s` seconds.
        """
        with self.expect() as exchange:
            await self._bus.publish(subject, payload, headers=headers, reply=exchange.reply_to)
            async with asyncio.timeout(timeout_s):
                return await exchange.next()

    async def gather(self, subject: str, payload: bytes, *, total_s: float, stall_s: float) -> list[Msg]:
        """Return all replies that come until `stall_s` seconds pass without one, `total_s` at most.

        Source: ADR-47, "Request Many", of nats-architecture-and-design.
        """
        replies: list[Msg] = []
        now = asyncio.get_running_loop().time
        ends_at = now() + total_s
        with self.expect() as exchange:
            await self._bus.publish(subject, payload, reply=exchange.reply_to)
            try:
                while True:
                    wait_s = stall_s if replies else total_s
                    async with asyncio.timeout_at(min(ends_at, now() + wait_s)):
                        replies.append(await exchange.next())
            except (TimeoutError, NoRespondersError):
                return replies

    def _dispatch(self, message: Msg) -> None:
        exchange = self._exchanges.get(message.subject.rpartition(".")[2])
        if exchange is not None:
            exchange._take(message)

    def _forget(self, token: str) -> None:
        self._exchanges.pop(token, None)


@asynccontextmanager
async def open_inbox(bus: Bus, *more: Bus) -> AsyncIterator[Inbox]:
    """Subscribe to this process's replies, on each of its connections."""
    inbox = Inbox(bus)
    async with AsyncExitStack() as stack:
        for connection in (bus, *more):
            subscription = await connection.receive(f"{connection.inbox_prefix}.r.*", inbox._dispatch)
            stack.push_async_callback(subscription.drain)
        yield inbox
