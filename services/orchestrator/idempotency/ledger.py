"""The idempotency ledger: a query that comes again with its key gets the first one's outcome, and never runs twice."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain, repeat
from typing import Any, Final

from services.orchestrator.idempotency.entries import Claim, IdempotencyEntries, Standing, Told, Unknown
from services.orchestrator.idempotency.keys import KeyedQuery
from services.runtime.errors import (
    DeadlineExceededError,
    IdempotencyConflictError,
    IdempotencyUnavailableError,
    QueryError,
    UpstreamError,
)
from services.runtime.store import Store, StoreAwayError, StoreError, StoreRefusedError

log = logging.getLogger(__name__)

_LATE_S: Final = 5.0
"""An owner that lives has told the outcome by so long after its deadline."""
_PAUSES_S: Final = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15)
_LONGEST_PAUSE_S: Final = 0.2
_SETTLE_AGAIN_S: Final = 0.25
_MOST_UNSETTLED: Final = 256
"""Entries that wait for the store to come back; more end as unknown."""


class OutcomeUnknownError(UpstreamError):
    """The first query with this key may have run, and nobody knows what became of it.

    The code is the one of a worker that died with a call, whoever died here: to the caller it is the same.
    """

    def __init__(self, first_id: str | None) -> None:
        """`first_id` is the id of the query that may have run; None: that is lost too."""
        super().__init__()
        self.first_id = first_id


class IdempotencyLedger:
    """Lets one query run for each key of a caller, and tells the others what it was told."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds, and that of deadlines."""
        self._store = store
        self._entries = IdempotencyEntries(store)
        self._clock = clock
        self._settling: set[asyncio.Task[None]] = set()

    async def once(
        self,
        keyed: KeyedQuery,
        query_id: str,
        deadline: float,
        run: Callable[[], Awaitable[Told]],
        *,
        may_have_run: Callable[[], bool],
    ) -> tuple[Told, bool]:
        """Return what the caller is to be told, and whether it is a repetition; by the deadline.

        Args:
            keyed: the use of a key.
            query_id: of this query.
            deadline: by the clock.
            run: answers the query. What it returns is what the key stands for from then on, errors included; what it
                raises leaves the key free if it says that the call certainly never ran, and its outcome unknown if not.
            may_have_run: asked when the caller goes away: whether the call has been handed to anybody.

        Raises:
            IdempotencyUnavailableError: the store is away, full, or drops entries; nothing ran.
            IdempotencyConflictError: the key stands for another query.
            OutcomeUnknownError: the first query may have run.
            DeadlineExceededError: the first query is still running.
            QueryError: whatever `run` raises.
        """
        if self._store.evicts_everything:
            raise IdempotencyUnavailableError
        claim = Claim(keyed, query_id)
        told = await self._claim(claim, deadline)
        if told is not None:
            return told, True
        try:
            told = await run()
        except asyncio.CancelledError:
            # The task that is cancelled does not wait for the store.
            self._start(self._leave(claim, deadline, may_have_run=may_have_run()))
            raise
        except Exception as error:
            executed = error.executed if isinstance(error, QueryError) else "maybe"
            await self._finish(self._leave(claim, deadline, may_have_run=executed != "no"))
            raise
        await self._finish(self._tell(claim, deadline, told))
        return told, False

    async def _claim(self, claim: Claim, deadline: float) -> Told | None:
        """Return what the first one was told, when it has been; None: the claim is ours."""
        has_seen_claim = is_in_doubt = False
        try:
            for pause_s in chain(_PAUSES_S, repeat(_LONGEST_PAUSE_S)):
                left_s = deadline - self._clock()
                # What was sent to a hung store is done when it wakes, though nobody waits any more.
                is_in_doubt = is_in_doubt or not self._store.is_away
                found = await self._find(claim, left_s, has_seen_claim=has_seen_claim)
                is_in_doubt = is_in_doubt and found is None
                match found:
                    case Told():
                        return found
                    case Standing.OURS:
                        return None
                    case Standing.OTHER_BODY:
                        raise IdempotencyConflictError
                    case Unknown():
                        raise OutcomeUnknownError(found.owner)
                has_seen_claim = True
                left_s = deadline - self._clock()
                if left_s <= 0:
                    raise DeadlineExceededError
                await asyncio.sleep(min(pause_s, left_s))
        except BaseException:
            if is_in_doubt:
                self._start(self._leave(claim, deadline, may_have_run=False))
            raise
        raise AssertionError("the pauses never end")

    async def _find(self, claim: Claim, left_s: float, *, has_seen_claim: bool) -> Told | Standing | Unknown | None:
        """Return how the entry stands; None: the store does not say, though it has before."""
        try:
            return await self._entries.claim(claim, max(0.0, left_s) + _LATE_S, has_seen_claim=has_seen_claim)
        except StoreError as error:
            if has_seen_claim:
                return None  # it may be back in time
            raise IdempotencyUnavailableError from error

    async def _tell(self, claim: Claim, deadline: float, told: Told) -> None:
        try:
            await self._settle(partial(self._entries.tell, claim, told), deadline)
        except StoreRefusedError:  # it is full; nobody need wait for what it will never hold
            log.warning("outcome was not kept", extra={"id": claim.owner, "bytes": len(told.body)})
            await self._leave(claim, deadline, may_have_run=True)

    async def _leave(self, claim: Claim, deadline: float, *, may_have_run: bool) -> None:
        leave = self._entries.end_as_unknown if may_have_run else self._entries.release
        try:
            await self._settle(partial(leave, claim), deadline)
        except StoreRefusedError:
            log.warning("idempotency entry was not ended", extra={"id": claim.owner})

    async def _settle(self, settle: Callable[[], Awaitable[object]], deadline: float) -> None:
        """End an entry now, or else, without keeping the caller, when the store is back."""
        try:
            await settle()
        except StoreAwayError:
            if len(self._settling) < _MOST_UNSETTLED:
                self._start(self._settle_later(settle, until=deadline + _LATE_S))

    async def _settle_later(self, settle: Callable[[], Awaitable[object]], *, until: float) -> None:
        while self._clock() < until:  # from then on the outcome is unknown, whatever is said
            await asyncio.sleep(_SETTLE_AGAIN_S)
            try:
                await settle()
            except StoreAwayError:
                continue
            except StoreRefusedError:
                log.warning("idempotency entry was not ended")
            return

    async def _finish(self, settling: Coroutine[Any, Any, None]) -> None:
        """Wait for it; a caller that goes away meanwhile does not end it."""
        await asyncio.shield(self._start(settling))

    async def close(self) -> None:
        """Give up what the store has not taken: it ends as unknown."""
        settling = [*self._settling]
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)

    def _start(self, settling: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(settling)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task


@asynccontextmanager
async def open_ledger(store: Store) -> AsyncIterator[IdempotencyLedger]:
    """The ledger of this orchestrator, in a store that all share."""
    ledger = IdempotencyLedger(store)
    try:
        yield ledger
    finally:
        await ledger.close()
