"""The stdio transport: one message per line, over the pipes of a process of ours."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bus_schemas.workers import ServerFault
from services.runtime.config.connections import Connection
from services.runtime.errors import NoWorkerError
from services.runtime.processes import GuardedProcess
from services.runtime.racing import never
from services.worker.mcp.errands import Errands
from services.worker.mcp.lines import CutLine, LineSplitter
from services.worker.mcp.messages import KEPT_ENDS_BYTES, Message, encode_cancellation
from services.worker.mcp.pending import MAX_MESSAGE_BYTES, PendingExchanges
from services.worker.mcp.server_process import server_process
from services.worker.mcp.transport import Exchange

log = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 2**18
_LEAVE_S: Final = 1.0
"""How long a server may take to exit by itself once its input has ended (MCP: the client closes stdin first)."""


@asynccontextmanager
async def open_stdio(connection: Connection, log_path: Path | None) -> AsyncIterator["StdioTransport"]:
    """Start the server's command and speak to it; leaving the context ends it.

    Raises:
        OpenError: the command could not be started.
    """
    async with server_process(connection, log_path, pipes=True) as process:
        transport = StdioTransport(process)
        try:
            yield transport
        finally:
            await transport.close()


class StdioTransport:
    """The pipes of one running server, shared by all its callers."""

    is_http = False

    def __init__(self, process: GuardedProcess) -> None:
        """Begin to listen to a process that was started with pipes."""
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process has no pipes")
        self._process = process
        self._stdin = process.stdin
        self._pending = PendingExchanges()
        self._errands = Errands()
        self._listening = asyncio.create_task(self._listen(process.stdout), name="mcp-stdio")

    @property
    def last_heard_at(self) -> float:
        """See `Session.last_heard_at`."""
        return self._pending.last_heard_at

    async def exchange(self, exchange: Exchange) -> Message:
        """See `Transport.exchange`."""
        with self._pending.expected(exchange) as response:
            await self._send(exchange.message)
            exchange.was_sent = True
            try:
                return await response
            except asyncio.CancelledError:
                if not self._stdin.is_closing():
                    self._stdin.write(encode_cancellation(exchange.request_id) + b"\n")
                raise

    async def notify(self, message: bytes, headers: Mapping[str, str]) -> None:
        """See `Transport.notify`."""
        await self._send(message)

    async def listen(self, headers: Mapping[str, str]) -> None:
        """See `Transport.listen`. Everything comes on the one stream."""
        await never()

    async def lists_changed(self) -> None:
        """See `Session.lists_changed`."""
        await self._pending.lists_changed()

    async def closed(self) -> ServerFault:
        """See `Session.closed`."""
        return await asyncio.shield(self._listening)

    async def close(self) -> None:
        """End the server's input and give it a moment to leave; whoever still waits gets no answer."""
        await self._errands.finish()
        self._stdin.close()
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _send(self, message: bytes) -> None:
        try:
            # Wait first: what is written is as good as sent, and a server that does not read must not fill our memory.
            await self._stdin.drain()
        except ConnectionError as error:
            raise NoWorkerError from error
        if self._listening.done() or self._stdin.is_closing():
            raise NoWorkerError
        self._stdin.write(message + b"\n")

    async def _send_back(self, answering: Awaitable[bytes]) -> None:
        await self._send(await answering)

    async def _listen(self, stdout: asyncio.StreamReader) -> ServerFault:
        lines = LineSplitter(MAX_MESSAGE_BYTES, kept_ends=KEPT_ENDS_BYTES)
        try:
            while chunk := await stdout.read(_CHUNK_BYTES):
                for line in lines.feed(chunk):
                    if isinstance(line, CutLine):
                        if not self._pending.take_cut(line):
                            log.warning("the server wrote a line that is too long")
                            return ServerFault.PROTOCOL_ERROR
                        continue
                    if (answering := self._pending.take(line)) is not None:
                        self._errands.run(self._send_back(answering))
            return ServerFault.PROCESS_EXITED
        finally:
            self._pending.fail()
