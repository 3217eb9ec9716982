"""One connection to NATS: it reconnects for ever, never buffers a request, and proves that it still hears."""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import ParseResult

from nats import errors as nats_errors
from nats.aio.client import Server
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js.api import Header

from services.runtime.bus.client import HardenedClient, Take
from services.runtime.credentials import Credentials
from services.runtime.lifecycle import Lifecycle, StoppedError

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]

_RECONNECT_WAIT_S: Final = 0.5
_FIRST_WAIT_S: Final = 0.05
_PING_INTERVAL_S: Final = 10
_FENCE_TIMEOUT_S: Final = 5
_FLUSH_TIMEOUT_S: Final = 2
_ECHO_INTERVAL_S: Final = 3.0
_ECHO_TIMEOUT_S: Final = 2.0
_NONE: Final = Credentials()
_DENIED_SUBSCRIPTION: Final = re.compile(r'permissions violation for subscription to "([^"]+)"')


class BusAwayError(Exception):
    """There is no connection now; nothing was sent, and nothing will be sent later."""


class BusDeniedError(Exception):
    """The server's permissions do not allow this subscription."""


class MessageTooLargeError(Exception):
    """Payload and headers together are over the server's max_payload; nothing was sent."""


def has_no_responders(message: Msg) -> bool:
    """Whether `message` is the server's word that nobody listens on the subject asked."""
    return message.headers is not None and message.headers.get(Header.STATUS) == "503" and not message.data


class Subscription:
    """Interest in a subject, until it is drained."""

    def __init__(self, subscription: NatsSubscription) -> None:
        self._subscription = subscription

    async def drain(self) -> None:
        """Return when nothing more will come and every message that came has been handled.

        Works by a fence: UNSUB, then PING; what the server sent before it read the UNSUB comes before its PONG.
        """
        try:
            await self._subscription.drain()
        except (nats_errors.ConnectionClosedError, nats_errors.BadSubscriptionError):
            return
        except (nats_errors.FlushTimeoutError, nats_errors.StaleConnectionError):
            # The fence was lost with the connection: what came is handled, and no reconnect renews the interest.
            self._subscription._conn._remove_sub(self._subscription._id)
            await self._subscription._pending_queue.join()
            self._subscription._stop_processing()


class Bus:
    """What a service does on NATS. Made by `open_bus`."""

    def __init__(self, client: HardenedClient, inbox_prefix: str, life: Lifecycle) -> None:
        self._client = client
        self._life = life
        self._in_service = False
        self._being_subscribed: dict[str, bool] = {}
        """Subjects in lower case, as the client tells errors; True once the server has refused them."""
        self._reconnect_listeners: list[Callable[[], None]] = []
        self._echo_subject = f"{inbox_prefix}.echo"
        self._echo_heard = asyncio.Event()
        self.inbox_prefix = inbox_prefix
        self.reconnects = 0

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, headers included, in bytes."""
        return self._client.max_payload

    def on_reconnect(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each reconnect, when subscriptions are in force again."""
        self._reconnect_listeners.append(listener)

    def repeat_after_reconnects(self, act: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Do `act` after each reconnect from now on, in a background task called `name`; of several at once, once."""
        reconnected = asyncio.Event()

        async def repeat() -> None:
            while True:
                await reconnected.wait()
                reconnected.clear()
                await act()

        self.on_reconnect(reconnected.set)
        self._life.start(repeat(), name=name)

    def publish_at_once(self, subject: str, payload: bytes, *, headers: Mapping[str, str], reply: str) -> bool:
        """Send one message if it need not wait for the server; return False, and send nothing, if it must.

        Raises:
            BusAwayError, MessageTooLargeError: as `publish` does.
        """
        if not self._client.is_connected:
            raise BusAwayError
        try:
            return self._client.publish_at_once(subject, payload, reply, headers)
        except nats_errors.MaxPayloadError as error:
            raise MessageTooLargeError from error

    async def publish(
        self, subject: str, payload: bytes, *, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Send one message, or nothing.

        Raises:
            BusAwayError: there is no connection. The stock client would buffer the message and send it after the
                reconnect, when its caller has long gone.
            MessageTooLargeError: payload and headers are over `max_payload`.
        """
        if not self._client.is_connected:
            raise BusAwayError
        try:
            await self._client.publish(subject, payload, reply, headers)
        except nats_errors.MaxPayloadError as error:
            raise MessageTooLargeError from error
        except (nats_errors.ConnectionClosedError, nats_errors.OutboundBufferLimitError) as error:
            raise BusAwayError from error

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Return when the server has taken the subscription.

        `handler` is called for one message after another; it must start a task for anything that waits.

        Raises:
            BusDeniedError: the server refuses it, which the stock client only tells its error callback.
            BusAwayError: there is no connection.
        """
        return await self._subscribe(subject, handler, queue)

    async def receive(self, subject: str, take: Take, *, queue: str = "") -> Subscription:
        """Subscribe like `subscribe`, for messages of which there are many.

        `take` is called where they are read, without a queue or a task between: it must not wait, nor take long.
        """

        async def handle(message: Msg) -> None:
            take(message)

        return await self._subscribe(subject, handle, queue, take)

    async def _subscribe(self, subject: str, handler: Handler, queue: str, take: Take | None = None) -> Subscription:
        if not self._client.is_connected:
            raise BusAwayError
        asked = subject.lower()
        self._being_subscribed[asked] = False
        subscription = await self._client.subscribe(subject, queue=queue, cb=handler)
        if take is not None:
            self._client.take_at_once(subscription._id, take)
        try:
            await self.fence()
            if self._being_subscribed.get(asked):
                raise BusDeniedError(subject)
        except BaseException:
            with suppress(nats_errors.Error):  # else the next reconnect would put it in force
                await subscription.unsubscribe()
            raise
        finally:
            self._being_subscribed.pop(asked, None)
        return Subscription(subscription)

    async def fence(self) -> None:
        """Return when the server has taken all that was published and subscribed before.

        Raises:
            BusAwayError: there is no connection, or it did not answer in 5 s.
        """
        if not self._client.is_connected:
            raise BusAwayError
        try:
            await self._client.flush(timeout=_FENCE_TIMEOUT_S)
        except nats_errors.Error as error:
            raise BusAwayError from error

    async def hear_echo(self) -> None:
        """Subscribe to what `prove_hearing` sends."""

        async def hear(_: Msg) -> None:
            self._echo_heard.set()

        await self.subscribe(self._echo_subject, hear)

    async def prove_hearing(self) -> None:
        """Send oneself a message every few seconds; reconnect when two in a row are not heard.

        A connection can be up in both directions and still deaf (a stopped read loop, a half-open TCP connection).
        """
        missed = 0
        while True:
            await asyncio.sleep(_ECHO_INTERVAL_S)
            self._echo_heard.clear()
            try:
                await self.publish(self._echo_subject, b"")
                async with asyncio.timeout(_ECHO_TIMEOUT_S):
                    await self._echo_heard.wait()
                missed = 0
            except BusAwayError:
                missed = 0
            except TimeoutError:
                missed += 1
                if missed >= 2:
                    log.warning("bus connection is deaf, reconnecting")
                    missed = 0
                    await self._client.force_reconnect()

    # The client's callbacks. They are awaited inside its read loop, so they never wait for anything.

    async def _on_error(self, error: Exception) -> None:
        log.warning("bus error", extra={"kind": type(error).__name__})
        text = str(error).lower()
        denied = _DENIED_SUBSCRIPTION.search(text)
        if denied is not None and denied[1] in self._being_subscribed:
            self._being_subscribed[denied[1]] = True
        elif denied is not None:
            self._end("bus took a subscription away")
        elif "authorization violation" in text:
            self._end("bus does not let us in any more")

    async def _on_disconnect(self) -> None:
        if self._in_service:
            log.warning("bus disconnected")

    async def _on_reconnect(self) -> None:
        self.reconnects += 1
        log.info("bus reconnected", extra={"reconnects": self.reconnects})
        for listener in self._reconnect_listeners:
            listener()

    async def _on_close(self) -> None:
        """The client closes for good on errors it does not know (a revoked key, say): the process must end."""
        self._end("bus closed the connection for good")

    def _end(self, reason: str) -> None:
        if self._in_service:
            log.critical(reason)
            self._life.stop(status=1)

    async def _close(self) -> None:
        self._in_service = False
        try:
            await self.fence()
        except BusAwayError:
            self._client.abort()
        # The connection is gone already, as uvloop says by a RuntimeError; or there never was one.
        with suppress(OSError, AssertionError, RuntimeError):
            await self._client.close()


def _next_server(lost: str | None, servers: list[Server]) -> tuple[Server, float]:
    """Choose where to connect next, and after how many seconds.

    One that has not failed is tried almost at once: that is how the loss of a node costs no query. Where all have, the
    wait is 0.5 s ± 50 %, so that those who lost a node together do not come back together.

    Args:
        lost: host and port of the server that was lost, or did not let us connect just now: the last choice.
        servers: where there is one; `reconnects` counts how often in a row each has failed.
    """
    server = min(servers, key=lambda one: (_address(one.uri) == lost, one.reconnects, random.random()))  # noqa: S311
    is_fresh = _address(server.uri) != lost and not server.reconnects
    wait_s = _FIRST_WAIT_S * random.random() if is_fresh else _RECONNECT_WAIT_S * random.uniform(0.5, 1.5)  # noqa: S311
    return server, wait_s


def _address(uri: ParseResult) -> str:
    return uri.netloc.rpartition("@")[2]


@asynccontextmanager
async def open_bus(
    url: str,
    *,
    service: str,
    instance: str,
    life: Lifecycle,
    credentials: Credentials = _NONE,
    connect_timeout_s: float | None = 30.0,
) -> AsyncIterator[Bus]:
    """Connect to NATS, and close the connection in the end after a last fence.

    Args:
        url: one or several NATS URLs, separated by commas; user and password may be in it.
        service: names the connection on the server, with `instance`.
        life: ends the process if the connection is closed for good.
        credentials: beside what the URL says.
        connect_timeout_s: how long the first connection may take, in seconds; None: as long as it takes.

    Raises:
        BusAwayError: NATS could not be reached in time.
    """
    client = HardenedClient()
    bus = Bus(client, f"_INBOX_{service}.{instance}", life)
    try:
        async with asyncio.timeout(connect_timeout_s):
            await life.unless_stopping(_connect(client, bus, url, f"{service}-{instance}", credentials))
    except (TimeoutError, OSError, nats_errors.Error, StoppedError) as error:
        await bus._close()
        log.critical("bus cannot be reached", extra={"kind": type(error).__name__})
        raise BusAwayError from error
    try:
        await bus.hear_echo()
        bus._in_service = True
        life.start(bus.prove_hearing(), name="bus-hearing")
        yield bus
    finally:
        await bus._close()


async def _connect(client: HardenedClient, bus: Bus, url: str, name: str, credentials: Credentials) -> None:
    """Try until the server is there: the stock client gives up on some first failures, and hides others."""
    tls = credentials.tls()

    def choose(servers: list[Server], _info: object) -> tuple[Server, float]:
        tried = client._current_server
        return _next_server(None if tried is None else _address(tried.uri), servers)

    while True:
        try:
            await client.connect(
                servers=[part.strip() for part in url.split(",")],
                name=name,
                nkeys_seed_str=credentials.nkey_seed,
                tls=tls,
                error_cb=bus._on_error,
                disconnected_cb=bus._on_disconnect,
                reconnected_cb=bus._on_reconnect,
                closed_cb=bus._on_close,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]  # it sleeps, any number will do
                reconnect_to_server_handler=choose,
                connect_timeout=2,
                flush_timeout=_FLUSH_TIMEOUT_S,
                ping_interval=_PING_INTERVAL_S,
                max_outstanding_pings=2,
                inbox_prefix=bus.inbox_prefix.encode(),
            )
        except (OSError, nats_errors.NoServersError, nats_errors.TimeoutError):
            await asyncio.sleep(_RECONNECT_WAIT_S)
        else:
            return
