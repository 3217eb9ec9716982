"""Keeps one session with one MCP server open for ever: open, up, lost, wait, open again."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, Never

from bus_schemas.workers import ServerFault
from services.runtime.errors import DeadlineExceededError, NotExecutedError, NoWorkerError, QueryError, UpstreamError
from services.runtime.racing import first_result
from services.worker.mcp.keeping import (
    KeepingPolicy,
    Verdict,
    failures_after,
    judge_failed_probe,
    relist_delay_s,
    restart_delay_s,
)
from services.worker.mcp.listening import keep_listening
from services.worker.mcp.session import (
    DEAF,
    NOTHING,
    Hearing,
    ListedCatalogue,
    OpenError,
    ServerInfo,
    Session,
    fault_of,
)

log = logging.getLogger(__name__)

OpenSession = Callable[[], AbstractAsyncContextManager[Session]]


@dataclass(frozen=True, slots=True)
class Status:
    """What is known about the server now.

    `starting` until the first attempt has succeeded, failed or taken ten seconds; `fault` says why it is `down`. What
    it offers and who it is stay known while it is down.
    """

    state: Literal["starting", "up", "down"] = "starting"
    fault: ServerFault | None = None
    catalogue: ListedCatalogue | None = None
    server_info: ServerInfo | None = None
    restarts: int = 0


class SessionKeeper:
    """Keeps one session open and hands it calls; `run()` must be running, as a supervised task."""

    def __init__(
        self,
        open_session: OpenSession,
        *,
        owns_process: bool,
        policy: KeepingPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take what opens a session; nothing is opened before `run()`.

        Args:
            open_session: opens one session, negotiated, or raises `OpenError`.
            owns_process: whether opening starts a process (the connection has a `command`).
            policy: how often, how long.
            clock: the moment now, in seconds; the same clock as `Session.last_heard_at`.
            sleep: waits so many seconds between attempts and between probes.
        """
        self._open_session = open_session
        self._owns_process = owns_process
        self._policy = policy or KeepingPolicy()
        self._clock = clock
        self._sleep = sleep
        self._session: Session | None = None
        self._status = Status()
        self._latency_s: float | None = None
        self._checked_at: float | None = None
        self._changed = asyncio.Event()
        self._suspected = asyncio.Event()
        self._relist_due = asyncio.Event()
        self._recovered = asyncio.Event()
        self._deadlines: dict[object, float] = {}
        self._ran_out_at = -math.inf
        """When a call last ran out of its time."""
        self.listings = 0
        """How often the server's lists were read."""

    @property
    def session(self) -> Session | None:
        """The session, while the server is up."""
        return self._session if self._status.state == "up" else None

    @property
    def status(self) -> Status:
        """What is known now."""
        return self._status

    @property
    def latency_s(self) -> float | None:
        """The last round trip of the probe, in seconds; None until there was one."""
        return self._latency_s

    @property
    def checked_at(self) -> float | None:
        """When the server was last asked, in seconds since 1970, whatever it answered."""
        return self._checked_at

    async def statuses(self) -> AsyncIterator[Status]:
        """Yield the status now, then the newest after each change, for ever."""
        while True:
            changed = self._changed
            yield self._status
            await changed.wait()

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
        """Send one request over the session of the moment; see `Session.request`.

        Raises:
            NoWorkerError: there is no session.
        """
        session = self.session
        if session is None:
            raise NoWorkerError
        call = object()
        self._deadlines[call] = self._clock() + timeout_s
        try:
            return await session.request(
                method, params, timeout_s=timeout_s, meta=meta, headers=headers, hearing=hearing
            )
        except DeadlineExceededError:
            self._ran_out_at = self._clock()
            raise
        except (NotExecutedError, UpstreamError):
            # Ask now whether the server is still there, not at the probe's next turn.
            self._suspected.set()
            raise
        finally:
            del self._deadlines[call]

    async def run(self) -> Never:
        """Keep a session open until cancelled."""
        failures = 0
        while True:
            up_at, fault = await self._open_once()
            up_s = 0.0 if up_at is None else self._clock() - up_at
            failures = failures_after(failures, up_s=up_s, policy=self._policy)
            delay_s = restart_delay_s(failures, owns_process=self._owns_process, policy=self._policy)
            level = logging.WARNING if failures == 1 else logging.DEBUG
            log.log(level, "no session with the server", extra={"fault": fault.value, "retry_in_s": delay_s})
            await self._sleep(delay_s)
            self._tell(restarts=self._status.restarts + 1)

    async def _open_once(self) -> tuple[float | None, ServerFault]:
        """Open a session and stay with it; return since when it was up, if it ever was, and what it was lost by."""
        up_at = None
        self._checked_at = time.time()
        waiting = asyncio.create_task(self._tell_silence())
        try:
            async with self._open_session() as session:
                self._latency_s = await session.probe(self._policy.probe_timeout_s)
                catalogue = await session.catalogue()
                self.listings += 1
                waiting.cancel()
                up_at = self._clock()
                self._session = session
                self._tell(state="up", fault=None, catalogue=catalogue, server_info=session.server_info)
                log.info("session open", extra={"era": session.server_info.era, "tools": len(catalogue.tools)})
                fault = await first_result(
                    session.closed(),
                    self._watch(session),
                    self._relist(session),
                    self._heed(session),
                    keep_listening(
                        session, anew=self._recovered, policy=self._policy, clock=self._clock, sleep=self._sleep
                    ),
                )
                # Down before the session closes: no call may be handed a closing one.
                self._tell(state="down", fault=fault)
        except OpenError as error:
            fault = error.fault
        except QueryError as error:
            fault = fault_of(error)
        finally:
            waiting.cancel()
            self._session = None
        self._tell(state="down", fault=fault)
        return up_at, fault

    async def _tell_silence(self) -> None:
        """Say that the server does not respond when it has taken long to open; it may still, for a minute or two."""
        await self._sleep(self._policy.silent_start_s)
        self._checked_at = time.time()
        self._tell(state="down", fault=ServerFault.NOT_RESPONDING)

    async def _watch(self, session: Session) -> ServerFault:
        """Probe the server; return why the session must be replaced."""
        while True:
            await self._pause()
            try:
                self._latency_s = await session.probe(self._policy.probe_timeout_s)
            except QueryError as error:
                fault = fault_of(error)
            else:
                self._recover()
                continue
            finally:
                self._checked_at = time.time()
            verdict = judge_failed_probe(
                fault,
                is_busy=self._is_busy(session),
                silent_s=self._clock() - session.last_heard_at,
                owns_process=self._owns_process,
                policy=self._policy,
            )
            if verdict is Verdict.REPLACE:
                return fault
            if verdict is Verdict.WITHDRAW:
                self._tell(state="down", fault=fault)

    def _is_busy(self, session: Session) -> bool:
        """Whether calls are the likely reason for silence; a call that ran out of its time says that they are not."""
        has_time_left = any(deadline > self._clock() for deadline in self._deadlines.values())
        return has_time_left and self._ran_out_at <= session.last_heard_at

    async def _pause(self) -> None:
        """Wait until the next probe is due or a call has failed; never less than a moment, lest probes flood."""
        policy = self._policy
        await self._sleep(policy.probe_apart_s)
        wait_s = policy.probe_every_s if self._status.state == "up" else policy.probe_withdrawn_every_s
        await first_result(self._suspected.wait(), self._sleep(wait_s - policy.probe_apart_s))
        self._suspected.clear()

    def _recover(self) -> None:
        if self._status.state != "up":
            self._relist_due.set()
            self._recovered.set()
            self._tell(state="up", fault=None)

    async def _heed(self, session: Session) -> Never:
        """Note that the lists have changed; however often that is said meanwhile, they are read once."""
        while True:
            await session.lists_changed()
            self._relist_due.set()

    async def _relist(self, session: Session) -> Never:
        """List again when the server says so, when it is back, and now and then: not every server says so."""
        in_vain = 0
        while True:
            began_at = self._clock()
            await first_result(self._relist_due.wait(), self._sleep(self._policy.relist_every_s))
            if self._clock() - began_at >= self._policy.stable_after_s:
                in_vain = 0
            await self._sleep(relist_delay_s(in_vain, self._policy))
            # Before they are read: what is said from here on is about what is not seen by this reading.
            self._relist_due.clear()
            try:
                catalogue = await session.catalogue()
            except QueryError as error:
                # The probe decides whether the server is away; what it offered is still the best guess.
                log.warning("the server's lists could not be read", extra={"fault": fault_of(error).value})
                await self._sleep(self._policy.probe_every_s)
                self._relist_due.set()
            else:
                self.listings += 1
                in_vain = in_vain + 1 if catalogue == self._status.catalogue else 0
                self._tell(catalogue=catalogue)

    def _tell(self, **changes: Any) -> None:
        status = replace(self._status, **changes)
        if status != self._status:
            self._status = status
            self._changed.set()
            self._changed = asyncio.Event()
