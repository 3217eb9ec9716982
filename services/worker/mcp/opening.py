"""Opening a session: the transport that the configuration names, and the era that the server speaks."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Literal, Never

from bus_schemas.workers import ServerFault
from services.runtime.config.connections import Connection
from services.runtime.errors import (
    QueryError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.worker.mcp.eras import LegacyEra, ModernEra
from services.worker.mcp.http import open_http
from services.worker.mcp.live import LiveSession
from services.worker.mcp.oauth import TokenSource
from services.worker.mcp.racing import first_result
from services.worker.mcp.server_process import START_LIMIT_S, server_process, until_listening
from services.worker.mcp.session import EraName, OpenError, fault_of
from services.worker.mcp.sse import open_sse
from services.worker.mcp.stdio import open_stdio
from services.worker.mcp.transport import Transport

SILENCE_LIMIT_S: Final = 10.0
"""How long a server may leave the first greeting unanswered before it is taken for one of the other era."""

_ERAS: Final[dict[EraName, type[ModernEra] | type[LegacyEra]]] = {"modern": ModernEra, "legacy": LegacyEra}


class SessionOpener:
    """Opens sessions with one server, and remembers which era it speaks."""

    def __init__(
        self, connection: Connection, *, era: Literal["auto", "modern", "legacy"] = "auto", log_path: Path | None = None
    ) -> None:
        """Take how the server is reached.

        Args:
            connection: from the configuration.
            era: the only one to try; `auto` finds out.
            log_path: takes the stderr of a process of ours, and its stdout unless it is spoken to over that.
        """
        self._connection = connection
        self._required: EraName | None = None if era == "auto" else era
        if connection.transport == "sse":
            self._required = "legacy"
        self._known: EraName | None = self._required
        self._log_path = log_path
        self._tokens = None if connection.oauth is None else TokenSource(connection.oauth)

    @property
    def owns_process(self) -> bool:
        """Whether opening a session starts a process."""
        return bool(self._connection.command)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[LiveSession]:
        """Open a session: start the process if it is ours, find the era, greet the server.

        Raises:
            OpenError: the server cannot be reached, or speaks no form of MCP that we know.
        """
        fault = ServerFault.NOT_RESPONDING
        for eras, limit_s in self._attempts():
            async with AsyncExitStack() as stack:
                try:
                    transport = await stack.enter_async_context(self._open_transport())
                    session = await first_result(_lost(transport), self._greeted(transport, eras, limit_s))
                except OpenError as error:
                    fault = error.fault
                except QueryError as error:
                    fault = fault_of(error)
                else:
                    self._known = session.server_info.era
                    yield session
                    return
            if fault in {ServerFault.CONNECTION_REFUSED, ServerFault.CONNECTION_TIMEOUT}:
                break
        self._known = self._required
        raise OpenError(fault)

    def _attempts(self) -> Sequence[tuple[Sequence[EraName], float]]:
        """Return in which order the eras are tried, attempt by attempt, and how long a server may be silent.

        Within an attempt the next era is tried when the server refuses one. A server that is silent or exits
        when it is asked in words it does not know is started afresh, and greeted the old way first.
        """
        if self._required is not None:
            return [([self._required], START_LIMIT_S)]
        if self._known is not None:
            return [(sorted(_ERAS, key=lambda era: era != self._known), START_LIMIT_S)]
        return [(["modern", "legacy"], SILENCE_LIMIT_S), (["legacy", "modern"], START_LIMIT_S)]

    @asynccontextmanager
    async def _open_transport(self) -> AsyncIterator[Transport]:
        connection = self._connection
        if connection.url is None:
            async with open_stdio(connection, self._log_path) as over_pipes:
                yield over_pipes
            return
        async with AsyncExitStack() as stack:
            process = None
            if connection.command:
                process = await stack.enter_async_context(server_process(connection, self._log_path, pipes=False))
                await until_listening(process, connection.url)
            open_url = open_sse if connection.transport == "sse" else open_http
            yield await stack.enter_async_context(open_url(connection, process, self._tokens))

    async def _greeted(self, transport: Transport, eras: Sequence[EraName], limit_s: float) -> LiveSession:
        for era in eras:
            session = LiveSession(transport, _ERAS[era](), configured_headers=self._connection.headers.keys())
            try:
                await session.greet(limit_s)
            except UpstreamRefusedError as error:
                refusal: QueryError = error
            except UpstreamError as error:
                # Old servers and what stands before them answer what they do not know in many ways.
                if not transport.is_http:
                    raise
                refusal = error
            else:
                return session
        raise refusal


async def _lost(transport: Transport) -> Never:
    raise OpenError(await transport.closed())
