"""Callers that cost little: connections over which one request at a time is asked, each answer with its time."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from tests.bench.capacity.messages import body_of

_CODE = re.compile(rb'"code": ?"(\w+)"')
_CONNECTING_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Told:
    """What came back for one request."""

    status: int
    """As in HTTP; 0 where nothing came back in time."""
    body: bytes
    ms: float
    """From the sending to the last byte."""

    @property
    def code(self) -> str:
        """That of the problem; `answered` with a result, `lost` with nothing."""
        if self.status in {0, 200}:
            return "answered" if self.status else "lost"
        found = _CODE.search(self.body)
        return str(self.status) if found is None else found[1].decode()


class Line(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._heard = bytearray()

    async def ask(self, request: bytes, *, timeout_s: float) -> Told:
        """Send a whole request; return what came back within `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
        began = time.perf_counter()
        if self._transport is None:
            return Told(0, b"", 0.0)
        self._transport.write(request)
        giving_up = loop.call_later(timeout_s, _settle, answer, (0, b""))
        status, body = await answer
        giving_up.cancel()
        return Told(status, body, (time.perf_counter() - began) * 1000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None:
            _settle(self._answer, (0, b""))

    def data_received(self, data: bytes) -> None:
        self._heard += data
        body = body_of(self._heard)
        if body is None or self._answer is None:
            return
        answer = int(self._heard[9:12]), bytes(self._heard[body])
        self._heard.clear()
        _settle(self._answer, answer)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def request(method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    parts = urlsplit(url)
    told = {"host": parts.netloc, "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


@asynccontextmanager
async def lines(url: str, count: int) -> AsyncIterator[list[Line]]:
    """Connect so many callers to where `url` is; nothing is sent yet."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    connecting = asyncio.Semaphore(_CONNECTING_AT_ONCE)

    async def connected() -> Line:
        async with connecting:
            _, line = await loop.create_connection(Line, parts.hostname or "", parts.port or 80)
            return line

    all_of_them = await asyncio.gather(*(connected() for _ in range(count)))
    try:
        yield list(all_of_them)
    finally:
        for line in all_of_them:
            line.close()


def _settle(answer: asyncio.Future[tuple[int, bytes]], told: tuple[int, bytes]) -> None:
    if not answer.done():
        answer.set_result(told)
