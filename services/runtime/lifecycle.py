"""The life of one service process: its background tasks, what ends it, and how it ends."""

import asyncio
import logging
import os
import secrets
import signal
import string
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

LIFELINE_FD = "BUSBAR_LIFELINE_FD"
"""The read end of a pipe whose write end only the supervisor has: it closes when the supervisor dies."""

_CLEANUP_S = 5.0
"""Longer than a loop takes to clean up; closing a server's process takes two seconds."""

_ORPHANED_S = 2.0
"""How long calls in flight have when the supervisor dies: within five seconds no server that we started may be left."""

_ALPHABET = string.ascii_lowercase + string.digits


def new_instance_id() -> str:
    """A random name for one process, 12 characters."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


async def end_task(task: asyncio.Task[Any], *, cleanup_s: float) -> None:
    """Cancel `task` and return when it has ended; cancel it again if it has not in `cleanup_s` seconds.

    Once is not enough: nats-py swallows a cancellation that meets it while it flushes, and so does a wait_for() of
    Python 3.11 whose work ends at that very moment.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=cleanup_s)


class StoppedError(Exception):
    """The process is ending; the work was given up."""


class Lifecycle:
    """Background tasks under one roof. One that fails ends the process: nothing half-dead keeps answering.

    Use as a context; leaving it cancels the tasks, the last started first.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.status = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._cut_off: asyncio.TimerHandle | None = None

    def stop(self, status: int = 0) -> None:
        """Begin the orderly end of the process. The first status that is not 0 stays."""
        self.status = self.status or status
        self.stopping.set()

    def start(self, loop: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Run `loop` in the background until it ends or the lifecycle does."""
        task = asyncio.create_task(loop, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._task_ended)

    async def unless_stopping(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, or give it up when the end of the process begins: for waits that belong to its start.

        Raises:
            StoppedError: it was given up.
        """
        working, stopping = asyncio.create_task(work), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise StoppedError
            working.result()
        finally:
            stopping.cancel()
            await end_task(working, cleanup_s=0.1)

    def obey_signals(self) -> None:
        """End in order at SIGTERM, at SIGINT, and when the supervisor that started us has died."""
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, self.stop)
        if lifeline := os.environ.pop(LIFELINE_FD, ""):
            descriptor = int(lifeline)
            os.set_inheritable(descriptor, False)
            running.add_reader(descriptor, self._supervisor_died, descriptor)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks[::-1]:
            task.remove_done_callback(self._task_ended)
            await end_task(task, cleanup_s=_CLEANUP_S)
            if not task.cancelled() and (failure := task.exception()) is not None:
                log.error("background task failed at its end", extra={"task": task.get_name()}, exc_info=failure)
        if self._cut_off is not None:
            self._cut_off.cancel()

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.remove(task)
        if task.cancelled() or task.exception() is None:
            return
        log.critical("background task failed", extra={"task": task.get_name()}, exc_info=task.exception())
        self.stop(status=1)

    def _supervisor_died(self, descriptor: int) -> None:
        running = asyncio.get_running_loop()
        running.remove_reader(descriptor)
        log.warning("supervisor is gone")
        self._cut_off = running.call_later(_ORPHANED_S, _die)
        self.stop()


def _die() -> None:
    """End this process now. The guards of the servers see it, and end those."""
    log.critical("supervisor is gone, what is in flight is cut off")
    os._exit(1)
