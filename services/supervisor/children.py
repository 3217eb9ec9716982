"""The two ways to start a process, so that it ends with us however we end.

A service of ours holds the read end of a pipe, the lifeline; the other end is only ours, so that it closes when
we die, and the service drains: see `nursery`. A program of others cannot know of that: it runs under a guard that kills
it.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from services.runtime.processes import GuardedProcess, ProcessStartError, guarded_process

KILLED: Final = 137
"""The status of a process that ended by SIGKILL: 128 + 9, as in a shell."""


class Child(Protocol):
    """A running process."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """Return its exit status, 128 + n for signal n, when it has ended."""
        ...

    async def stop(self, limit_s: float) -> int:
        """Send SIGTERM, and SIGKILL after `limit_s` seconds; return as `wait()` does."""
        ...


StartChild = Callable[[], AbstractAsyncContextManager[Child]]
"""Starts a process, and kills it when the context closes before it has ended. Raises `ChildStartError`."""


class ChildStartError(Exception):
    """The process could not be started. The text is the system's and names neither command nor path."""


@contextmanager
def lifeline() -> Iterator[int]:
    """Yield the descriptor that services inherit; it closes for them when the context or our process ends."""
    for_services, ours = os.pipe()
    try:
        yield for_services
    finally:
        os.close(for_services)
        os.close(ours)


@asynccontextmanager
async def guarded_child(
    command: Sequence[str],
    *,
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    may_interrupt: bool = True,
) -> AsyncIterator[Child]:
    """Run a program of others, with everything that it starts; its output goes to `log_path`. See `guarded_process`.

    Raises:
        ChildStartError: it could not be started.
    """
    try:
        async with guarded_process(
            command, cwd=cwd, env=environment, log_path=log_path, may_interrupt=may_interrupt
        ) as process:
            yield _GuardedChild(process)
    except ProcessStartError as error:
        raise ChildStartError(str(error)) from error


class _GuardedChild:
    def __init__(self, process: GuardedProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The program's own, not its guard's."""
        return self._process.child_pid

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self, limit_s: float) -> int:
        return await self._process.terminate(limit_s)
