"""Opening a session: the transport that the configuration names, and the era that the server speaks."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Never

from bus_schemas.workers import ServerFault
from services.runtime.config.connections import Connection
from services.runtime.errors import (
    QueryError,
    UpstreamError,
    UpstreamRefusedError,
)
from services.runtime.racing import first_result
from services.worker.mcp.eras import Era, LegacyEra, ModernEra
from services.worker.mcp.live import LiveSession
from services.worker.mcp.server_process import START_LIMIT_S, server_process, until_listening
from services.worker.mcp.session import NOTHING, EraName, OpenError, fault_of
from services.worker.mcp.stdio import open_stdio
from services.worker.mcp.transport import Transport

if TYPE_CHECKING:
    from services.worker.mcp.oauth import TokenSource

SILENCE_LIMIT_S: Final = 10.0
"""How long a server may leave the first greeting unanswered before it is taken for one of the other era."""

_ERAS: Final[tuple[EraName, ...]] = ("modern", "legacy")

_AWAY: Final = frozenset({ServerFault.CONNECTION_REFUSED, ServerFault.CONNECTION_TIMEOUT})


class SessionOpener:
    """Opens sessions with one server, and remembers over which transport and in which era it speaks."""

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
        self._log_path = log_path
        self._tokens: TokenSource | None = None
        self._era = self._required
        self._transport = connection.transport

    @property
    def owns_process(self) -> bool:
        """Whether opening a session starts a process."""
        return bool(self._connection.command)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[LiveSession]:
        """Open a session: start the process if it is ours, find transport and era, greet the server.

        Raises:
            OpenError: the server cannot be reached, or speaks no form of MCP that we know.
        """
        async with self._open(self._connection) as session:
            yield session

    @asynccontextmanager
    async def open_another(self, capabilities: Mapping[str, Any] = NOTHING) -> AsyncIterator[LiveSession]:
        """Open one more session beside that of `open()`, which has started the process if it listens at a URL.

        Args:
            capabilities: what a server of the handshake era may ask of the one caller of the session.

        Raises:
            OpenError: as `open()` does.
        """
        connection = self._connection
        if connection.url is not None:
            connection = replace(connection, command=())
        async with self._open(connection, partial(LegacyEra, capabilities)) as session:
            yield session

    @asynccontextmanager
    async def _open(
        self, connection: Connection, legacy: Callable[[], LegacyEra] = LegacyEra
    ) -> AsyncIterator[LiveSession]:
        fault = ServerFault.NOT_RESPONDING
        for names, limit_s in self._attempts():
            eras = [ModernEra if name == "modern" else legacy for name in names]
            async with AsyncExitStack() as stack:
                try:
                    session = await self._session(stack, connection, eras, limit_s)
                except OpenError as error:
                    fault = error.fault
                except QueryError as error:
                    fault = fault_of(error)
                else:
                    self._era = session.server_info.era
                    yield session
                    return
            # Over HTTP a refusal of one era leaves the next to be tried at once, and so has been one of all.
            if fault in _AWAY or (fault is ServerFault.PROTOCOL_ERROR and connection.url is not None):
                break
        # Another release may be there the next time.
        self._era, self._transport = self._required, connection.transport
        raise OpenError(fault)

    def _attempts(self) -> Sequence[tuple[Sequence[EraName], float]]:
        """Return in which order the eras are tried, attempt by attempt, and how long a server may be silent.

        Within an attempt the next era is tried when the server refuses one. A server that is silent or exits
        when it is asked in words it does not know is started afresh, and greeted the old way first.
        """
        if self._required is not None:
            return [([self._required], START_LIMIT_S)]
        if self._era is not None:
            return [(sorted(_ERAS, key=lambda era: era != self._era), START_LIMIT_S)]
        return [(["modern", "legacy"], SILENCE_LIMIT_S), (["legacy", "modern"], START_LIMIT_S)]

    async def _session(
        self, stack: AsyncExitStack, connection: Connection, eras: Sequence[Callable[[], Era]], limit_s: float
    ) -> LiveSession:
        """Return a session; what it stands on is open for as long as `stack` is."""
        if connection.url is None:
            return await self._over(open_stdio(connection, self._log_path), stack, eras, limit_s)
        # What HTTP needs takes its time to import: not for a server that speaks over stdio.
        from services.worker.mcp.http import open_http  # noqa: PLC0415
        from services.worker.mcp.sse import open_sse, refuses_post  # noqa: PLC0415

        if self._tokens is None and connection.oauth is not None:
            from services.worker.mcp.oauth import TokenSource  # noqa: PLC0415

            self._tokens = TokenSource(connection.oauth)
        process = None
        if connection.command:
            process = await stack.enter_async_context(server_process(connection, self._log_path, pipes=False))
            await until_listening(process, connection.url)
        if self._transport != "sse":
            try:
                return await self._over(open_http(connection, process, self._tokens), stack, eras, limit_s)
            except UpstreamError:
                may_be_old = self._transport == "auto" and self._required != "modern"
                if not (may_be_old and await refuses_post(connection, self._tokens)):
                    raise
        session = await self._over(open_sse(connection, process, self._tokens), stack, _without_modern(eras), limit_s)
        self._transport = "sse"
        return session

    async def _over(
        self,
        opening: AbstractAsyncContextManager[Transport],
        stack: AsyncExitStack,
        eras: Sequence[Callable[[], Era]],
        limit_s: float,
    ) -> LiveSession:
        """Return a session over one transport, which is closed with `stack`, or at once if there is none."""
        async with AsyncExitStack() as attempt:
            transport = await attempt.enter_async_context(opening)
            session = await first_result(_lost(transport), self._greeted(transport, eras, limit_s))
            await stack.enter_async_context(attempt.pop_all())
            return session

    async def _greeted(self, transport: Transport, eras: Sequence[Callable[[], Era]], limit_s: float) -> LiveSession:
        for era in eras:
            session = LiveSession(transport, era(), configured_headers=self._connection.headers.keys())
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


def _without_modern(eras: Sequence[Callable[[], Era]]) -> Sequence[Callable[[], Era]]:
    return [era for era in (*eras, LegacyEra) if era is not ModernEra][:1]


async def _lost(transport: Transport) -> Never:
    raise OpenError(await transport.closed())
