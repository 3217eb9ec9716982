"""Restarts a crashing server over and over and weighs itself: `python -m tests.support.crash_loop KIND RESTARTS`.

KIND says who restarts it: `pipes` a worker's keeper over stdio, `up` the same of one that crashes in each call, `url`
of one with a command and a URL, `supervisor` what `busbar up` has for that. The waits between restarts are left out.
A footprint is a line of JSON; it is told after a quarter of the restarts, when all that is made once is there, and
after the last.
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
import uvloop

from services.runtime.config.connections import Connection
from services.runtime.errors import QueryError
from services.runtime.processes import child_environment
from services.supervisor.children import guarded_child
from services.supervisor.managed import ManagedProcess, Stage
from services.worker.mcp.keeper import SessionKeeper
from services.worker.mcp.keeping import KeepingPolicy
from services.worker.mcp.opening import SessionOpener
from tests.support.mcp_servers import raw_stdio
from tests.support.ports import free_port

T = TypeVar("T")
Start = Callable[[], AbstractAsyncContextManager[T]]

CRASH = ("sh", "-c", "setsid sleep 600 & exit 3")
"""Ends at once, and leaves a process behind that holds the other ends of its pipes."""
CRASH_IN_CALLS = (sys.executable, "-I", "-S", raw_stdio.__file__)
HERE = Path(__file__).parent
MARK = {name: value for name, value in os.environ.items() if name == "PROCESS_OF_TEST"}
"""By this the test finds servers that have been left running, wherever they are."""


def footprint() -> dict[str, int]:
    """Return what this process holds."""
    gc.collect()
    us = psutil.Process()
    return {
        "processes": len(us.children(recursive=True)),
        "descriptors": us.num_fds(),
        "threads": us.num_threads(),
        "tasks": len(asyncio.all_tasks()),
        "rss_bytes": us.memory_info().rss,
        "python_bytes": tracemalloc.get_traced_memory()[0],
    }


class Restarts:
    """Counts the starts of something, and weighs this process before some of them, when nothing should be left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._starts = 0
        self._opened = 0
        self.over = asyncio.Event()

    def counting(self, start: Start[T]) -> Start[T]:
        """Return `start`, counted; after the last restart it starts nothing more."""

        @asynccontextmanager
        async def counted() -> AsyncIterator[T]:
            if self._starts in {self._total // 4, self._total}:
                print(json.dumps({"opened": self._opened, **footprint()}), flush=True)  # noqa: T201 the test reads it
            if self._starts == self._total:
                self.over.set()
                await asyncio.Event().wait()
            self._starts += 1
            async with start() as started:
                self._opened += 1
                yield started

        return counted


def keeper_of(connection: Connection, restarts: Restarts) -> SessionKeeper:
    opener = SessionOpener(connection, era="modern")  # else each opening that fails is two starts
    at_once = KeepingPolicy(first_restart_s=0, longest_restart_s=0)
    return SessionKeeper(restarts.counting(opener.open), owns_process=True, policy=at_once)


async def keep_over_pipes(restarts: Restarts) -> None:
    await keeper_of(Connection(transport="stdio", command=CRASH, cwd=HERE, env=MARK), restarts).run()


async def keep_at_url(restarts: Restarts) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    await keeper_of(Connection(transport="http", command=CRASH, url=url, cwd=HERE, env=MARK), restarts).run()


async def keep_and_call(restarts: Restarts) -> None:
    keeper = keeper_of(Connection(transport="stdio", command=CRASH_IN_CALLS, cwd=HERE, env=MARK), restarts)
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.run())
        async for status in keeper.statuses():
            if status.state == "up":
                with suppress(QueryError):
                    await keeper.request("tools/call", b'{"name":"exit","arguments":{}}', timeout_s=10)


async def supervise(restarts: Restarts) -> None:
    log_path = Path(tempfile.gettempdir()) / "crash.log"
    environment = child_environment(MARK)
    start = restarts.counting(lambda: guarded_child(CRASH, log_path=log_path, environment=environment))
    await ManagedProcess("server", start, stage=Stage.ATTENDANTS, sleep=lambda _: asyncio.sleep(0)).run()


KINDS: Mapping[str, Callable[[Restarts], Awaitable[None]]] = {
    "pipes": keep_over_pipes,
    "up": keep_and_call,
    "url": keep_at_url,
    "supervisor": supervise,
}


async def run(kind: str, total: int) -> None:
    """Restart so often, then end."""
    restarts = Restarts(total)
    running = asyncio.ensure_future(KINDS[kind](restarts))
    over = asyncio.create_task(restarts.over.wait())
    await asyncio.wait([running, over], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    running.cancel()
    await asyncio.wait([running])


if __name__ == "__main__":
    tracemalloc.start()
    uvloop.run(run(sys.argv[1], int(sys.argv[2])))
