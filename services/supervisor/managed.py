"""One process that is kept running until it is stopped or retired."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from enum import IntEnum, auto
from typing import Any

from services.runtime.racing import unless
from services.supervisor.children import KILLED, ChildStartError, StartChild
from services.supervisor.restarts import deaths_after, restart_delay_s

log = logging.getLogger(__name__)

_NOT_STARTED = 127


class Stage(IntEnum):
    """In which order processes stop: those that ask before those that answer."""

    ORCHESTRATORS = auto()
    WORKERS = auto()
    ATTENDANTS = auto()
    CARRIERS = auto()


_STOP_LIMIT_S = {Stage.ORCHESTRATORS: 320.0, Stage.WORKERS: 320.0, Stage.ATTENDANTS: 10.0, Stage.CARRIERS: 10.0}
"""Above what a service may take to drain: 310 s for the longest deadline."""


class ManagedProcess:
    """Starts a process, and starts it again when it dies, also after a SIGTERM from outside."""

    def __init__(
        self,
        name: str,
        start: StartChild,
        *,
        stage: Stage,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        """Start nothing before `run()`.

        Args:
            name: as in the state file and the log, `worker-database_mcp-1`.
            start: starts the process once.
            stage: when it stops, and how long it may take.
            changed: called after each change of `pid`, and when it has ended for good.
            clock: the moment now, in seconds.
            sleep: waits so many seconds between a death and the next start.
        """
        self.name = name
        self.stage = stage
        self.pid: int | None = None
        self.deaths = 0
        """How often it has ended unasked."""
        self._start = start
        self._changed = changed
        self._clock = clock
        self._sleep = sleep
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._retired = False
        self._was_killed = False

    @property
    def has_ended(self) -> bool:
        """Whether it has ended for good."""
        return self._ended.is_set()

    def retire(self) -> None:
        """Let its next end be its last: it was ordered to drain, and leaves on its own."""
        self._retired = True

    async def stop(self) -> bool:
        """Stop it for good; return whether it ended by itself, and not by SIGKILL when its time was over."""
        self._stopping.set()
        await self._ended.wait()
        return not self._was_killed

    async def run(self) -> None:
        """Keep it running; return when it has been stopped or retired and has ended."""
        in_a_row = 0
        try:
            while not self._stopping.is_set():
                started_at = self._clock()
                status = await self._run_once()
                if self._stopping.is_set() or self._retired:
                    break
                self.deaths += 1
                in_a_row = deaths_after(in_a_row, ran_s=self._clock() - started_at)
                delay_s = restart_delay_s(in_a_row)
                log.warning(
                    "process ended, it is started again",
                    extra={"child": self.name, "status": status, "restart_in_s": delay_s},
                )
                await unless(self._stopping, self._sleep(delay_s))
        finally:
            self._ended.set()
            self._changed()

    async def _run_once(self) -> int:
        """Run it once, to its end; return its status."""
        try:
            async with self._start() as child:
                self._tell(child.pid)
                log.debug("process started", extra={"child": self.name, "pid": child.pid})
                status = await unless(self._stopping, child.wait())
                if status is None:
                    status = await child.stop(_STOP_LIMIT_S[self.stage])
                    self._was_killed = status == KILLED
                return status
        except ChildStartError as error:
            log.warning("process cannot be started", extra={"child": self.name, "cause": str(error)})
            return _NOT_STARTED
        finally:
            self._tell(None)

    def _tell(self, pid: int | None) -> None:
        if pid != self.pid:
            self.pid = pid
            self._changed()
