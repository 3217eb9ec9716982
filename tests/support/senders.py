"""How the load driver reaches the gateway: HTTP or NATS, with what came back made alike."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Protocol

import aiohttp
import anyio
import nats
import nats.errors
import orjson
from nats.aio.client import Client

QUERY_SUBJECT = "mcp.v1.query"
_CONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller was told; the fields are those of `records.Told`."""

    status: int
    code: str | None
    executed: str | None
    instance: str | None = None
    server: str | None = None
    attempts: int | None = None
    is_error: bool = False


NEVER_SENT = Answer(0, "connection", "no")
CUT_OFF = Answer(0, "connection", "maybe")
NO_RESPONDERS = Answer(0, "no_responders", "no")


class Sender(Protocol):
    """One way to the gateway."""

    async def send(self, query: bytes, *, timeout_s: float) -> Answer | None:
        """Send the JSON of a query; return what came back, or None after `timeout_s` seconds of silence."""


class HttpSender:
    """POSTs to the gateways in turn, over connections that are kept."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session = session
        self._urls = cycle(f"{url.rstrip('/')}/v1/query" for url in urls)

    async def send(self, query: bytes, *, timeout_s: float) -> Answer | None:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.post(next(self._urls), data=query, timeout=timeout) as response:
                return read_answer(response.status, await response.read())
        except TimeoutError:  # before ClientError: some of aiohttp's timeouts are both
            return None
        except aiohttp.ClientConnectorError:
            return NEVER_SENT
        except aiohttp.ClientError:
            return CUT_OFF


class NatsSender:
    """Sends requests on the subject of queries."""

    def __init__(self, client: Client, headers: dict[str, str]) -> None:
        self._client = client
        self._headers = headers

    async def send(self, query: bytes, *, timeout_s: float) -> Answer | None:
        if not self._client.is_connected:  # the library would keep the query and send it later
            return NEVER_SENT
        try:
            headers = {**self._headers, "mcp-sent-at": str(time.time_ns() // 1_000_000)}
            reply = await self._client.request(QUERY_SUBJECT, query, timeout=timeout_s, headers=headers)
        except nats.errors.TimeoutError:
            return None
        except nats.errors.NoRespondersError:
            return NO_RESPONDERS
        except nats.errors.Error:
            return CUT_OFF
        return read_answer(int((reply.headers or {}).get("mcp-status", "0")), reply.data)


@asynccontextmanager
async def http_sender(urls: Sequence[str], key: str | None) -> AsyncIterator[HttpSender]:
    """Open an HTTP sender with as many connections as there are queries at once."""
    headers = {"content-type": "application/json", **_authorization(key)}
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield HttpSender(session, urls)


@asynccontextmanager
async def nats_sender(url: str, key: str | None) -> AsyncIterator[NatsSender]:
    """Connect to NATS for a sender that reconnects for as long as it is used.

    Raises:
        TimeoutError: there is no connection within two seconds.
    """

    async def keep_quiet(_error: Exception) -> None:
        """A lost connection shows in the record."""

    with anyio.fail_after(_CONNECT_S):  # who reconnects for ever also tries the first connection for ever
        client = await nats.connect(url, error_cb=keep_quiet, reconnect_time_wait=0, max_reconnect_attempts=-1)
    try:
        yield NatsSender(client, _authorization(key))
    finally:
        await client.close()


def read_answer(status: int, body: bytes) -> Answer:
    """Return what the gateway's result or problem object says; a body that is neither is `unreadable`."""
    try:
        fields: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    match fields:
        case {"result": {} as result} if status == 200:
            return Answer(
                200,
                None,
                None,
                fields.get("instance"),
                fields.get("server"),
                fields.get("attempts"),
                is_error=result.get("isError") is True,
            )
        case {"code": str(code), "executed": "no" | "maybe" as executed} if status != 200:
            return Answer(status, code, executed)
    return Answer(0, "unreadable", "maybe")


def _authorization(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}
