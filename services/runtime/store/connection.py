"""The one connection to Redis or Valkey, which all share: replies come in the order of the commands."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url

from services.runtime.store.errors import (
    NotServingError,
    StoreAwayError,
    StoreError,
    StoreRefusedError,
    UnknownScriptError,
)

_Error = TypeVar("_Error", bound=StoreError)

MAX_WAITING: Final = 10_000
"""Commands without a reply; one more is not sent."""

MAX_WAITING_BYTES: Final = 64 * 2**20
"""Of these commands together."""

_LOOKS: Final = 5
"""In so many parts a limit is waited for. A busy loop looks at its sockets between any two: what has come is taken."""

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

_NOT_SERVING: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.BusyLoadingError)
_REFUSALS: Final = (exceptions.ResponseError, *_NOT_SERVING)
_BREAKS: Final = (exceptions.RedisError, OSError, EOFError, ValueError)


class StoreConnection:
    """Closed at first, and again when it breaks; it may be opened again each time."""

    def __init__(self, url: str, *, broke: Callable[[Exception], object]) -> None:
        """`broke` is called when it broke or was too slow, and has been closed.

        Raises:
            StoreError: the URL cannot be used.
        """
        try:
            self._library_connection = _library_connection(url)
        except (ValueError, TypeError, OSError, exceptions.RedisError):
            raise StoreError("the store's URL cannot be used") from None  # they may quote the password
        self._broke = broke
        self._reading: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[asyncio.Future[Any], int]] = deque()
        self._waiting_bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._reading is not None

    async def open(self) -> None:
        """Connect, and say who we are.

        Raises:
            StoreAwayError: nobody listens, or it breaks.
            NotServingError: it does not let us in.
        """
        try:
            await self._library_connection.connect()  # type: ignore[no-untyped-call]
        except _REFUSALS as error:
            raise NotServingError from error
        except _BREAKS as error:
            raise StoreAwayError from error
        else:
            self._reading = asyncio.create_task(self._read(), name="store-reading")
        finally:
            if not self.is_open:
                self.close()

    async def ask(self, *words: str | bytes | int, limit_s: float) -> Any:
        """Return the reply to one command: bytes, int, None, or a list of such, in which an error is an exception.

        Whoever is cancelled only stops waiting.

        Raises:
            StoreAwayError: it is closed, it broke, the reply did not come in time, or too many wait already.
            StoreRefusedError: the reply is an error.
        """
        writer = self._library_connection._writer
        if not self.is_open or writer is None or writer.is_closing():
            raise StoreAwayError
        command: list[bytes] = self._library_connection.pack_command(*words)
        size = sum(map(len, command))
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise StoreAwayError
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((reply, size))
        self._waiting_bytes += size
        writer.writelines(command)
        loop.call_later(limit_s / _LOOKS, self._look, reply, limit_s / _LOOKS, _LOOKS - 1)
        return await reply

    def close(self, error: Exception | None = None) -> None:
        """Close it without waiting, and fail all who wait; a hung store may still do, later, what has reached it."""
        if self._library_connection._writer is not None:
            self._library_connection._writer.transport.abort()
            self._library_connection._close()  # type: ignore[no-untyped-call]
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        for reply, _ in waiting:
            if not reply.done():
                reply.set_exception(_caused(StoreAwayError(), error))

    async def _read(self) -> None:
        """Hand each reply to whoever has waited longest, until it breaks."""
        while True:
            refusal: StoreRefusedError | None = None
            reply: Any = None
            try:
                reply = await self._library_connection.read_response(disconnect_on_error=False)
            except _REFUSALS as error:
                refusal = _refusal(error)
            except _BREAKS as error:
                self._break(error)
                return
            if not self._waiting:
                self._break(exceptions.InvalidResponse("it said something unasked"))
                return
            waiting, size = self._waiting.popleft()
            self._waiting_bytes -= size
            if waiting.done():  # cancelled
                continue
            if refusal is None:
                waiting.set_result(reply)
            else:
                waiting.set_exception(refusal)

    def _look(self, reply: asyncio.Future[Any], pause_s: float, left: int) -> None:
        """Look whether the reply has come: now, and so many times more."""
        if reply.done():
            return
        if left == 0:
            self._break(TimeoutError())
        else:
            asyncio.get_running_loop().call_later(pause_s, self._look, reply, pause_s, left - 1)

    def _break(self, error: Exception) -> None:
        self.close(error)
        self._broke(error)


def _library_connection(url: str) -> AbstractConnection:
    address: dict[str, Any] = {**parse_url(url)}
    kind: type[AbstractConnection] = address.get("connection_class", Connection)
    made = kind(**{name: value for name, value in address.items() if name not in _OF_A_POOL} | _OURS)
    if isinstance(made, SSLConnection):
        made.ssl_context.get()  # reads the authorities' certificates: now, not while somebody waits
    return made


def _refusal(error: Exception) -> StoreRefusedError:
    if isinstance(error, exceptions.NoScriptError):
        return _caused(UnknownScriptError(), error)
    return _caused(NotServingError() if isinstance(error, _NOT_SERVING) else StoreRefusedError(), error)


def _caused(error: _Error, cause: Exception | None) -> _Error:
    error.__cause__ = cause
    return error
