"""The shared store: every wait for it is at most 0.1 s, and a store that is away costs that once."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from services.runtime.lifecycle import Lifecycle
from services.runtime.store.connection import StoreConnection
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
_CONNECT_LIMITS: Final = 10
"""So many times as long it may take to connect, which is on nobody's time."""
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
        self._connection = None if url is None else StoreConnection(url, broke=self._lost)
        self._is_away = url is None
        self._is_closed = False
        self._is_in_doubt = asyncio.Event()
        self._ask_from = 0.0
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

        One round trip, two where the script is new to the store; each is 0.1 s at most.

        Raises:
            StoreAwayError: it does not answer, or far too many ask. The script may have run, or run later.
            StoreRefusedError: it answered with an error.
        """
        if self._is_away or self._connection is None:
            raise StoreAwayError
        words = (len(keys), *keys, *arguments)
        try:
            try:
                return await self._connection.ask("EVALSHA", script.digest, *words, limit_s=_LIMIT_S)
            except UnknownScriptError:
                return await self._connection.ask("EVAL", script.source, *words, limit_s=_LIMIT_S)
        except NotServingError:
            self._is_in_doubt.set()
            raise

    async def ask_whether_it_answers(self) -> None:
        """Connect if it is away; learn how it evicts, and let the listeners know if it is back."""
        if self._connection is None or self._is_closed:
            return
        self._is_in_doubt.clear()
        self._ask_from = asyncio.get_running_loop().time() + _ASK_AGAIN_S
        try:
            if not self._connection.is_open:
                async with asyncio.timeout(_CONNECT_LIMITS * _LIMIT_S):
                    await self._connection.open()
            self._evicts_everything = await _evicts_everything(self._connection)
        except (StoreError, TimeoutError) as error:
            self._lost(error)
        else:
            self._answered(self._connection)

    async def keep_asking(self) -> None:
        """Ask when it is in doubt or away, at most every half second; end when it is closed."""
        while not self._is_closed:
            await self._is_in_doubt.wait()
            await asyncio.sleep(self._ask_from - asyncio.get_running_loop().time())
            await self.ask_whether_it_answers()

    def close(self) -> None:
        """Be away for good."""
        self._is_closed = self._is_away = True
        self._is_in_doubt.set()
        if self._connection is not None:
            self._connection.close()

    def _answered(self, connection: StoreConnection) -> None:
        if self._is_closed:
            connection.close()
        if self._is_away and connection.is_open:
            self._is_away = False
            self._returns += 1
            log.info("store is back", extra={"returns": self._returns})
            for listener in self._return_listeners:
                listener()

    def _lost(self, error: Exception) -> None:
        """Let nobody else wait for it."""
        self._is_in_doubt.set()
        if self._connection is not None:
            self._connection.close(error)
        if isinstance(error, TimeoutError):
            # One that answers when we ask but is slow with the rest costs 0.1 s no more often.
            self._ask_from = asyncio.get_running_loop().time() + _ASK_AGAIN_S
        if not self._is_away:
            self._is_away = True
            kind = type(error.__cause__ if isinstance(error, StoreError) else error).__name__
            log.warning("store is away", extra={"kind": kind})


@asynccontextmanager
async def open_store(url: str | None, life: Lifecycle) -> AsyncIterator[Store]:
    """Reach for the store, and close the connection in the end; one that is down is away until it is up.

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


async def _evicts_everything(connection: StoreConnection) -> bool:
    await connection.ask("PING", limit_s=_LIMIT_S)
    try:
        memory = await connection.ask("INFO", "memory", limit_s=_LIMIT_S)
    except StoreRefusedError:  # it may not tell us
        return False
    return isinstance(memory, bytes) and _EVICTS_EVERYTHING in memory
