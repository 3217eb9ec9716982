"""Connections to Redis or Valkey, each for one command at a time: one that was cut off in the middle is dropped."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url

from services.runtime.store.errors import (
    NotServingError,
    StoreAwayError,
    StoreError,
    StoreRefusedError,
    UnknownScriptError,
)

Command = list[bytes]
"""A command as it goes over the wire."""

MAX_CONNECTIONS: Final = 64

_OF_A_POOL: Final = ("max_connections", "timeout", "connection_class")
_OURS: Final[dict[str, Any]] = {
    # Whoever asks bounds the whole wait. The library's own limits add up, and its asyncio.wait_for() swallows a
    # cancellation that meets the end of a write.
    "socket_timeout": None,
    "socket_connect_timeout": None,
    "retry": None,  # it would run for longer than anybody waits
    "retry_on_error": [],
    "retry_on_timeout": False,
    "health_check_interval": 0,
    "decode_responses": False,
    "driver_info": None,  # two commands less for each new connection
    "protocol": 2,
}


class StoreConnection:
    """One connection of the library's."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._transport: asyncio.WriteTransport | None = None
        self.is_whole = False
        """Every command that was sent has had its whole reply."""

    async def open(self) -> None:
        """Connect, and say who we are.

        Raises:
            StoreAwayError: nobody listens, or it breaks.
            NotServingError: it does not let us in.
        """
        try:
            with _translated():
                await self._connection.connect()  # type: ignore[no-untyped-call]
        except StoreRefusedError as error:
            raise NotServingError from error.__cause__
        if self._connection._writer is not None:
            self._transport = self._connection._writer.transport
        self.is_whole = True

    async def is_quiet(self) -> bool:
        """Whether nothing has come since the last reply, not even the end of the connection."""
        try:
            return not await self._connection.can_read()
        except (exceptions.RedisError, OSError):
            return False

    async def ask(self, command: Command) -> Any:
        """Return the reply to one command: bytes, int, None, or a list of such.

        Raises:
            StoreAwayError: the connection broke.
            StoreRefusedError: the reply is an error.
        """
        self.is_whole = False
        with _translated():
            try:
                await self._connection.send_packed_command(command, check_health=False)
                reply = await self._connection.read_response()
            except exceptions.ResponseError:
                self.is_whole = True  # the error is the reply
                raise
        self.is_whole = True
        return reply

    def drop(self) -> None:
        """Close it without waiting; a hung store may still do, later, what has reached its machine."""
        self.is_whole = False
        self._connection._close()  # type: ignore[no-untyped-call]
        if self._transport is not None:
            self._transport.abort()


class Connections:
    """Those that are idle, and how new ones are made.

    Not the library's BlockingConnectionPool: it awaits a lock to take a connection back, where a task that is being
    cancelled must not wait for anything; and it cannot tell a wait for a place from one for the store.
    """

    def __init__(self, url: str, *, found_closed: Callable[[], object]) -> None:
        """Connect to nothing yet; `found_closed` is called when an idle connection turns out to have ended.

        Raises:
            StoreError: the URL cannot be used.
        """
        try:
            address: dict[str, Any] = {**parse_url(url)}
            self._class: type[AbstractConnection] = address.get("connection_class", Connection)
            self._arguments = {name: value for name, value in address.items() if name not in _OF_A_POOL} | _OURS
            self._pattern = self._class(**self._arguments)
            if isinstance(self._pattern, SSLConnection):
                self._pattern.ssl_context.get()  # reads the authorities' certificates: once, not for each connection
        except (ValueError, TypeError, OSError, exceptions.RedisError):
            raise StoreError("the store's URL cannot be used") from None  # they may quote the password
        self._found_closed = found_closed
        self._idle: list[StoreConnection] = []
        self._epoch = 0
        self.places = asyncio.Semaphore(MAX_CONNECTIONS)
        """To be held by whoever borrows."""

    def pack(self, *words: str | bytes | int) -> Command:
        """Return a command to ask; the first word may be several, separated by blanks."""
        packed: Command = self._pattern.pack_command(*words)
        return packed

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[StoreConnection]:
        """A connection that was idle, or a new one; it is kept if it is whole in the end.

        Raises:
            StoreAwayError, NotServingError: as `StoreConnection.open`.
        """
        epoch = self._epoch
        connection = await self._idle_one() or await self._new_one()
        try:
            yield connection
        finally:
            if connection.is_whole and epoch == self._epoch:
                self._idle.append(connection)
            else:
                connection.drop()

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[StoreConnection]:
        """A new connection, without a place; it is closed in the end."""
        connection = await self._new_one()
        try:
            yield connection
        finally:
            connection.drop()

    def drop_all(self) -> None:
        """Close the idle ones now, and each of the others when it is given back."""
        self._epoch += 1
        while self._idle:
            self._idle.pop().drop()

    async def _idle_one(self) -> StoreConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if await connection.is_quiet():
                return connection
            connection.drop()
            self._found_closed()
        return None

    async def _new_one(self) -> StoreConnection:
        library_connection = self._class(**self._arguments)
        if isinstance(library_connection, SSLConnection) and isinstance(self._pattern, SSLConnection):
            library_connection.ssl_context = self._pattern.ssl_context
        connection = StoreConnection(library_connection)
        try:
            await connection.open()
        except BaseException:
            connection.drop()
            raise
        return connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exceptions.NoScriptError as error:
        raise UnknownScriptError from error
    except exceptions.ResponseError as error:
        raise StoreRefusedError from error
    except (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.BusyLoadingError) as error:
        raise NotServingError from error
    except (exceptions.RedisError, OSError, EOFError, ValueError) as error:
        raise StoreAwayError from error
