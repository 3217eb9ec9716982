"""The shared store: every wait for it is at most 0.1 s, and a store that is away costs that once."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from services.runtime.lifecycle import Lifecycle
from services.runtime.store.connections import Connections
from services.runtime.store.errors import (
    NotServingError,
    StoreAwayError,
    StoreError,
    StoreRefusedError,
    UnknownScriptError,
)

__all__ = ["Script", "Store", "StoreAwayError", "StoreError", "StoreRefusedError", "open_store"]

log = logging.getLogger(__name__)

_LIMIT_S: Final = 0.1
_ASK_AGAIN_S: Final = 0.5
_EVICTS_EVERYTHING: Final = b"maxmemory_policy:allkeys-"


class Script:
    """A Lua script; the store runs it as one step."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Store:
    """Redis or Valkey, or none. Made by `open_store`."""

    def __init__(self, url: str | None) -> None:
        self._in_doubt = asyncio.Event()
        self._connections = None if url is None else Connections(url, found_closed=self._in_doubt.set)
        self._is_away = url is None
        self._is_closed = False
        self._evicts_everything = False
        self._returns = 0
        self._return_listeners: list[Callable[[], None]] = []

    @property
    def is_away(self) -> bool:
        """Whether `run` would fail at once."""
        return self._is_away

    @property
    def evicts_everything(self) -> bool:
        """Whether a full store drops also what has no lifetime; False as long as it has not said so."""
        return self._evicts_everything

    def on_return(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time the store answers again after it was away."""
        self._return_listeners.append(listener)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int] = ()) -> Any:
        """Return what the script returns: bytes, int, None, or a list of such.

        One round trip, two where the script is new to the store; 0.1 s at most.

        Raises:
            StoreAwayError: it does not answer, or all connections are in use. The script may have run, or run later.
            StoreRefusedError: it answered with an error.
        """
        if self._is_away or self._connections is None:
            raise StoreAwayError
        words = (len(keys), *keys, *arguments)
        returns = self._returns
        has_place = False
        try:
            async with asyncio.timeout(_LIMIT_S), self._connections.places:
                if self._is_away:  # while we waited
                    raise StoreAwayError
                has_place = True
                return await _run(self._connections, script, words)
        except (StoreAwayError, TimeoutError) as error:
            # To wait for a place says nothing about the store; nor does a call from before its last return.
            if has_place and returns == self._returns:
                self._lost(error)
            if isinstance(error, StoreAwayError):
                raise
            raise StoreAwayError from error
        except NotServingError:
            self._in_doubt.set()
            raise

    async def ask_whether_it_answers(self) -> None:
        """Ask now; learn how it evicts, and let the listeners know if it is back."""
        if self._connections is None:
            return
        self._in_doubt.clear()
        try:
            async with asyncio.timeout(_LIMIT_S):
                self._evicts_everything = await _evicts_everything(self._connections)
        except (StoreError, TimeoutError) as error:
            self._lost(error)
            return
        if self._is_away and not self._is_closed:
            self._is_away = False
            self._returns += 1
            log.info("store is back", extra={"returns": self._returns})
            for listener in self._return_listeners:
                listener()

    async def keep_asking(self) -> None:
        """Ask when it is in doubt, and every half second while it is away; end when it is closed."""
        while not self._is_closed:
            await self._in_doubt.wait()
            if self._is_away:
                # Also before the first time: one that answers this but is slow with the rest costs 0.1 s no more often.
                await asyncio.sleep(_ASK_AGAIN_S)
            await self.ask_whether_it_answers()

    def close(self) -> None:
        """Be away for good."""
        self._is_closed = self._is_away = True
        self._in_doubt.set()
        if self._connections is not None:
            self._connections.drop_all()

    def _lost(self, error: Exception) -> None:
        """Let nobody else wait for it."""
        self._in_doubt.set()
        if self._is_away:
            return
        self._is_away = True
        kind = type(error.__cause__ if isinstance(error, StoreError) else error).__name__
        log.warning("store is away", extra={"kind": kind})
        if self._connections is not None:
            self._connections.drop_all()


@asynccontextmanager
async def open_store(url: str | None, life: Lifecycle) -> AsyncIterator[Store]:
    """Reach for the store, and close the connections in the end; one that is down is away until it is up.

    Args:
        url: `redis://`, `rediss://` or `unix://`, user and password may be in it; None: a store that is always away.
        life: keeps asking for it in the background.

    Raises:
        StoreError: the URL cannot be used.
    """
    store = Store(url)
    await store.ask_whether_it_answers()
    life.start(store.keep_asking(), name="store-asking")
    try:
        yield store
    finally:
        store.close()


async def _run(connections: Connections, script: Script, words: Sequence[str | bytes | int]) -> Any:
    command = connections.pack("EVALSHA", script.digest, *words)
    async with connections.borrowed() as connection:
        try:
            return await connection.ask(command)
        except UnknownScriptError:
            return await connection.ask(connections.pack("EVAL", script.source, *words))


async def _evicts_everything(connections: Connections) -> bool:
    async with connections.apart() as connection:
        await connection.ask(connections.pack("PING"))
        try:
            memory = await connection.ask(connections.pack("INFO", "memory"))
        except StoreRefusedError:  # it may not tell us
            return False
    return isinstance(memory, bytes) and _EVICTS_EVERYTHING in memory
