"""The public keys of the issuer of access tokens: read in the background, and kept while it does not answer."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from services.runtime.auth.issuer_key import IssuerKey, NoKeysError, PublicKey
from services.runtime.errors import IssuerUnavailableError
from services.runtime.lifecycle import Lifecycle, end_task

log = logging.getLogger(__name__)

_APART_S: Final = 5.0
"""The least time between two fetches: tokens with keys that somebody made up cost the issuer no more than that."""
_WAIT_S: Final = 2.0
"""How long a token with an unknown key waits for the fetch that may bring it."""

Fetch = Callable[[], Awaitable[Sequence[IssuerKey]]]


class Issuer:
    """Knows the keys that its tokens are signed with."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        refresh_s: float,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where to ask; nothing is asked yet.

        Args:
            fetch: asks for the keys, within a bounded time. Raises NoKeysError.
            refresh_s: how often they are read.
            keep_s: how long they hold without being read again.
            clock: the moment now, in seconds.
        """
        self._fetch = fetch
        self._refresh_s = refresh_s
        self._apart_s = min(_APART_S, refresh_s)
        self._keep_s = keep_s
        self._clock = clock
        self._keys: Sequence[IssuerKey] = ()
        self._read_at: float | None = None
        self._asked_at = clock() - _APART_S
        self._asking: asyncio.Task[None] | None = None
        self._is_failing = False
        self.revision = 0
        """Grows whenever the keys change."""

    @property
    def is_up(self) -> bool:
        """Whether it told its keys when it was last asked."""
        return self._read_at is not None and not self._is_failing

    async def key(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the key for a token with that header; None: the issuer has none like it.

        One that is not known yet is waited for, two seconds at most, if a fetch is under way or due: an issuer may
        sign with a new key as soon as it has it.

        Raises:
            IssuerUnavailableError: no keys are known at all.
        """
        found = self._find(kid, algorithm)
        if found is None and (asking := self._ask_if_due()) is not None:
            await asyncio.wait([asking], timeout=_WAIT_S)
            found = self._find(kid, algorithm)
        if found is None and not self._holds:
            raise IssuerUnavailableError
        return found

    async def follow(self) -> None:
        """Read the keys again and again, for ever; sooner while the issuer does not answer."""
        while True:
            if (asking := self._ask_if_due()) is not None:
                await asyncio.wait([asking])
            await asyncio.sleep(self._apart_s if self._is_failing else self._refresh_s)

    async def close(self) -> None:
        """Give up what is being asked."""
        if self._asking is not None:
            await end_task(self._asking, cleanup_s=1.0)

    @property
    def _holds(self) -> bool:
        """Whether the keys that were read are still to be gone by."""
        return self._read_at is not None and self._clock() - self._read_at <= self._keep_s

    def _find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        if not self._holds:
            return None
        return next((key.public for key in self._keys if key.serves(kid, algorithm)), None)

    def _ask_if_due(self) -> asyncio.Task[None] | None:
        """Return the fetch that is under way; it begins now if the last one began long enough ago."""
        if self._asking is None and self._clock() - self._asked_at >= self._apart_s:
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._ask(), name="issuer-keys")
        return self._asking

    async def _ask(self) -> None:
        try:
            keys = await self._fetch()
        except NoKeysError as error:
            level = logging.DEBUG if self._is_failing else logging.WARNING
            log.log(level, "issuer gives no keys", extra={"why": str(error)})
            self._is_failing = True
        else:
            if keys != self._keys:
                log.info("keys of the issuer read", extra={"keys": len(keys)})
                self._keys = keys
                self.revision += 1
            self._read_at = self._clock()
            self._is_failing = False
        finally:
            self._asking = None


@asynccontextmanager
async def following_issuer(issuer: Issuer | None, registry: CollectorRegistry, life: Lifecycle) -> AsyncIterator[None]:
    """Read the issuer's keys from now on; nobody waits for them here. Without an issuer nobody is missed."""
    up = Gauge(
        "mcp_issuer_up",
        "0 while the issuer of access tokens does not tell its keys, else 1; 1 where none is configured.",
        registry=registry,
    )
    up.set_function(lambda: issuer is None or issuer.is_up)
    if issuer is None:
        yield
        return
    life.start(issuer.follow(), name="issuer")
    try:
        yield
    finally:
        await issuer.close()
