"""A session of its own for each caller: opened by the first call, ended after idling, and never quietly replaced."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Never, Self

from bus_schemas.digests import caller_digest
from services.runtime.errors import DeadlinePassedError, NoWorkerError, OverloadedError, QueryError, UpstreamError
from services.runtime.racing import first_result
from services.worker.mcp.keeper import OpenSession
from services.worker.mcp.session import (
    DEAF,
    NOTHING,
    Hearing,
    OpenError,
    Session,
    SessionForgottenError,
    fault_of,
)

log = logging.getLogger(__name__)

_SWEEP_S: Final = 1.0

OpenSessionFor = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Session]]


class CallerSession:
    """What one caller has of the server. Once it is over it stays so."""

    def __init__(self, open_session: OpenSession, clock: Callable[[], float]) -> None:
        """Take what opens it; it opens when `run` does."""
        self._open_session = open_session
        self._clock = clock
        self._session: Session | None = None
        self._settled = asyncio.Event()
        self._forgotten = asyncio.Event()
        self._was_open = False
        self._heard_of_trouble = False
        self._calls = 0
        self._used_at = clock()
        self.is_over = False

    @property
    def must_be_told(self) -> bool:
        """Whether it is lost and the caller does not know: the last word to it was no `upstream_error`."""
        return self.is_over and self._was_open and not self._heard_of_trouble

    @property
    def idle_s(self) -> float:
        """How long nobody has used it, in seconds."""
        return 0.0 if self._calls else self._clock() - self._used_at

    async def run(self) -> None:
        """Open it and stay with it until it is lost, or until cancelled."""
        try:
            async with self._open_session() as session:
                session.renews = False
                if session.server_info.era == "modern":
                    await session.catalogue()  # it says which arguments are repeated in headers
                self._session, self._was_open = session, True
                self._settled.set()
                await first_result(session.closed(), self._forgotten.wait())
                # Over before it closes: no call may be handed a closing one.
                self._end()
        except OpenError as error:
            log.warning("no session for a caller", extra={"fault": error.fault.value})
        except QueryError as error:
            log.warning("no session for a caller", extra={"fault": fault_of(error).value})
        finally:
            self._end()

    async def request(
        self,
        method: str,
        params: bytes,
        *,
        timeout_s: float,
        meta: Mapping[str, Any] = NOTHING,
        headers: Mapping[str, str] = NOTHING,
        hearing: Hearing = DEAF,
    ) -> bytes:
        """Send one request when the session is open; see `Session.request`.

        Raises:
            NoWorkerError: it could not be opened.
        """
        self._calls += 1
        try:
            began = self._clock()
            session = await self._opened(timeout_s)
            left_s = timeout_s - (self._clock() - began)
            result = await session.request(
                method, params, timeout_s=left_s, meta=meta, headers=headers, hearing=hearing
            )
        except UpstreamError as error:
            self._heard_of_trouble = True
            if isinstance(error, SessionForgottenError):
                self._end()
                self._forgotten.set()
            raise
        else:
            self._heard_of_trouble = False
            return result
        finally:
            self._calls -= 1
            self._used_at = self._clock()

    async def _opened(self, timeout_s: float) -> Session:
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        except TimeoutError as error:
            raise DeadlinePassedError from error
        if self._session is None:
            raise NoWorkerError
        return self._session

    def _end(self) -> None:
        self.is_over = True
        self._session = None
        self._settled.set()


class CallerSessions:
    """The callers' sessions of one worker; a context, which ends them all."""

    def __init__(
        self,
        open_session: OpenSessionFor,
        *,
        most: int,
        idle_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the bounds.

        Args:
            open_session: opens one session, negotiated, for a client with these capabilities, or raises `OpenError`.
            most: sessions at once.
            idle_s: how long one is kept without a call, in seconds.
            clock: the moment now, in seconds.
        """
        self._open_session = open_session
        self._most = most
        self._idle_s = idle_s
        self._clock = clock
        self._sessions: dict[str, CallerSession] = {}
        self._tasks: dict[CallerSession, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def digests(self) -> list[str]:
        """Who has a session here, or has lost one here and not been told."""
        return [caller_digest(caller) for caller in self._sessions]

    async def changes(self) -> AsyncIterator[None]:
        """Yield after each change of `digests()`, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield

    def of(self, caller: str, *, was_lost: bool, capabilities: Mapping[str, Any] = NOTHING) -> CallerSession:
        """Return the caller's session, a fresh one where there is none.

        Args:
            caller: the id of a principal.
            was_lost: another worker held the caller's session, and is gone.
            capabilities: what the server may ask of the caller, if this begins the session.

        Raises:
            UpstreamError: the session was lost since the caller's last call; from the next call on it has a fresh one.
            OverloadedError: there is no room for another caller.
        """
        known = self._sessions.get(caller)
        if known is not None and not known.is_over:
            return known
        if known is None and len(self._sessions) >= self._most:
            raise OverloadedError
        fresh = self._begin(caller, capabilities)
        if was_lost if known is None else known.must_be_told:
            log.info("a caller was told that its session is lost")
            raise UpstreamError
        return fresh

    async def end_idle(self) -> Never:
        """End sessions that nobody uses, until cancelled."""
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._idle_s / 2))
            for caller, session in list(self._sessions.items()):
                if session.idle_s >= self._idle_s:
                    self._forget(caller)
                    if (task := self._tasks.get(session)) is not None:
                        task.cancel()

    def _begin(self, caller: str, capabilities: Mapping[str, Any]) -> CallerSession:
        session = self._sessions[caller] = CallerSession(partial(self._open_session, capabilities), self._clock)
        self._tasks[session] = asyncio.create_task(self._keep(caller, session), name="caller-session")
        self._changed.set()
        return session

    async def _keep(self, caller: str, session: CallerSession) -> None:
        try:
            with suppress(asyncio.CancelledError):  # idle, or the end of the worker
                await session.run()
        except Exception:
            log.exception("a caller's session failed")
        finally:
            del self._tasks[session]
            # One that was lost stays until its caller has been told, or has not come for long.
            if self._sessions.get(caller) is session and not session.must_be_told:
                self._forget(caller)

    def _forget(self, caller: str) -> None:
        del self._sessions[caller]
        self._changed.set()
