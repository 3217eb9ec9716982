"""The processes of one run, from their start to their orderly end."""

import asyncio
import logging
from types import TracebackType
from typing import Self

from services.supervisor.managed import ManagedProcess, Stage

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps processes running while its context is open. Leaving it stops what `drain()` has not."""

    def __init__(self) -> None:
        self._processes: dict[str, ManagedProcess] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            # The task group would wrap it; it has nothing to do with the tasks.
            kind = error = traceback = None
        if error is None:
            await self.drain()
        await self._tasks.__aexit__(kind, error, traceback)

    def add(self, process: ManagedProcess) -> None:
        """Start a process and keep it running."""
        self._processes[process.name] = process
        self._tasks.create_task(self._run(process), name=process.name)

    def has(self, name: str) -> bool:
        """Whether there is a process of that name that has not ended for good."""
        return name in self._processes

    def pids(self) -> dict[str, int]:
        """Return the ids of the processes that there are now, by name."""
        return {name: process.pid for name, process in self._processes.items() if process.pid is not None}

    async def drain(self) -> list[str]:
        """Stop everything, those that ask before those that answer; return the names of those that had to be killed.

        What is in flight is finished: an orchestrator leaves when its queries are answered, and until the last has
        left the workers stay, and are started again if they die.
        """
        killed: list[str] = []
        for stage in Stage:
            processes = [process for process in self._processes.values() if process.stage is stage]
            stopped = await asyncio.gather(*(process.stop() for process in processes))
            killed += [process.name for process, in_time in zip(processes, stopped, strict=True) if not in_time]
        return killed

    async def _run(self, process: ManagedProcess) -> None:
        try:
            await process.run()
        finally:
            del self._processes[process.name]
