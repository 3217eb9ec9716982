"""A TCP proxy that falls silent as a network does: connections stay open, and nothing comes through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK_BYTES = 65536


class Gate:
    """Made by `gate()`."""

    def __init__(self, port: int) -> None:
        self.port = 0
        """Where it listens."""
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._ways: set[asyncio.Task[None]] = set()

    def shut(self) -> None:
        """Let nothing through; new connections are taken and hear nothing."""
        self._open.clear()

    def open(self) -> None:
        """Let everything through that has waited."""
        self._open.set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = asyncio.current_task()
        assert way is not None
        self._ways.add(way)
        with suppress(OSError, asyncio.CancelledError):
            await self._open.wait()
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await asyncio.gather(self._carry(reader, behind_writer), self._carry(behind_reader, writer))
            finally:
                behind_writer.close()
        writer.close()
        self._ways.discard(way)

    async def end(self) -> None:
        """Close every connection."""
        for way in (ways := tuple(self._ways)):
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        await self._open.wait()  # that this side has closed is a word, too
        writer.close()


@asynccontextmanager
async def gate(port: int) -> AsyncIterator[Gate]:
    """Stand before 127.0.0.1:`port`."""
    standing = Gate(port)
    server = await asyncio.start_server(standing.take, "127.0.0.1", 0)
    standing.port = server.sockets[0].getsockname()[1]
    try:
        yield standing
    finally:
        server.close()
        await standing.end()
