"""How the load reaches the gateway: over HTTP as through a load balancer, over NATS with a caller's own patience."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import aiohttp
import anyio
import nats

from tests.support.senders import Answer, HttpSender, NatsSender, Sender

NO_REPLY = Answer(0, "no_reply", "maybe")
"""What a caller on the bus says when nothing came: NATS promises no delivery, so its own clock ends its wait."""

_LOOK_S = 0.5
_CONNECT_S = 5.0


class BalancedSender:
    """Asks the gateways that say they are ready, in turn; all of them where none does."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session = session
        self._gateways = {url: HttpSender(session, [url]) for url in urls}
        self._ready = set(urls)
        self._turns = count()

    async def send(self, query: bytes, *, timeout_s: float) -> Answer | None:
        urls = [url for url in self._gateways if url in self._ready] or list(self._gateways)
        return await self._gateways[urls[next(self._turns) % len(urls)]].send(query, timeout_s=timeout_s)

    async def watch(self) -> None:
        """Look every half a second who is ready, as a load balancer does."""
        timeout = aiohttp.ClientTimeout(total=_LOOK_S)
        while True:
            for url in self._gateways:
                try:
                    async with self._session.get(f"{url}/readyz", timeout=timeout) as response:
                        is_ready = response.status == 200
                except TimeoutError:  # slow is not gone
                    continue
                except aiohttp.ClientError:
                    is_ready = False
                (self._ready.add if is_ready else self._ready.discard)(url)
            await anyio.sleep(_LOOK_S)


class PatientSender:
    """Waits for `patience_s` seconds and then gives up, which its caller knows at that moment."""

    def __init__(self, sender: Sender, patience_s: float) -> None:
        self._sender = sender
        self._patience_s = patience_s

    async def send(self, query: bytes, *, timeout_s: float) -> Answer | None:
        answer = await self._sender.send(query, timeout_s=min(timeout_s, self._patience_s))
        return NO_REPLY if answer is None else answer


@asynccontextmanager
async def balanced_sender(urls: Sequence[str]) -> AsyncIterator[BalancedSender]:
    """Open a sender over kept connections, as many as there are queries at once."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    headers = {"content-type": "application/json"}
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        anyio.create_task_group() as background,
    ):
        sender = BalancedSender(session, urls)
        background.start_soon(sender.watch)
        yield sender
        background.cancel_scope.cancel()


@asynccontextmanager
async def patient_sender(url: str, *, patience_s: float) -> AsyncIterator[PatientSender]:
    """Connect to NATS, one URL or several by commas, and reconnect for as long as the sender is used.

    Raises:
        TimeoutError: there is no connection within five seconds.
    """

    async def keep_quiet(_error: Exception) -> None:
        """A lost connection shows in the record."""

    with anyio.fail_after(_CONNECT_S):  # who reconnects for ever also tries the first connection for ever
        client = await nats.connect(
            url.split(","), error_cb=keep_quiet, reconnect_time_wait=0, max_reconnect_attempts=-1
        )
    try:
        yield PatientSender(NatsSender(client, {}), patience_s)
    finally:
        await client.close()
