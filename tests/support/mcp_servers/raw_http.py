"""An HTTP server in the test's own event loop whose every answer is written byte by byte by the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

DISCOVERED = b'{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"complete"}'


@dataclass(slots=True)
class Request:
    """One request as it came."""

    method: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter = field(repr=False)

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)

    async def answer(
        self, body: bytes = b"", *, status: int = 200, kind: str = "application/json", headers: str = ""
    ) -> None:
        """Write a whole response."""
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        await self.write(head.encode() + body)

    async def result(self, result: bytes) -> None:
        """Answer with a JSON-RPC result."""
        await self.answer(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (self.json["id"], result))

    async def error(self, status: int, error: bytes) -> None:
        """Answer with a JSON-RPC error."""
        await self.answer(b'{"jsonrpc":"2.0","id":%d,"error":%s}' % (self.json["id"], error), status=status)

    async def write(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def begin_events(self) -> None:
        """Begin a stream of events that ends with the connection."""
        await self.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")

    async def wait_until_closed(self, reader: asyncio.StreamReader) -> None:
        """Return when the client has closed the connection."""
        while await reader.read(65536):
            pass


Handler = Callable[[Request, asyncio.StreamReader], Awaitable[None]]


class RawServer:
    """Where it listens, and what has come."""

    def __init__(self, port: int) -> None:
        """Begin with nothing."""
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.requests: list[Request] = []
        self.connections = 0


@asynccontextmanager
async def raw_server(handler: Handler, *, port: int = 0, discovers: bool = True) -> AsyncIterator[RawServer]:
    """Serve `handler` on a loopback port; a handler that returns keeps the connection, unless it closed it.

    `server/discover` is answered here unless `discovers` is false, so that a handler deals with what its test is about.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(head[0].split()[0], headers, body, writer)
                if discovers and b'"server/discover"' in body:
                    await request.result(DISCOVERED)
                    continue
                server.requests.append(request)
                await handler(request, reader)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            # asyncio's streams of Python 3.11 complain of a connection's task that was cancelled.
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", port, limit=2**20)
    server = RawServer(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
