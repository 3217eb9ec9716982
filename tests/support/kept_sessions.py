"""A keeper with sessions that do what the test says and a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from bus_schemas.workers import ServerFault
from services.runtime.errors import QueryError
from services.worker.mcp.keeper import SessionKeeper
from services.worker.mcp.session import DEAF, NOTHING, Hearing, ListedCatalogue, OpenError, ServerInfo


class World:
    """The clock, and the server that may or may not be there."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fault: ServerFault | None = None
        self.opened: list[FakeSession] = []
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            woken = asyncio.Event()
            self._sleepers.append((self.now + seconds, woken))
            await woken.wait()

    async def advance(self, seconds: float) -> None:
        """Let time pass, a tenth of a second at a time, and everybody do what is due."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.now = round(self.now + 0.1, 6)
            for sleeper in [sleeper for sleeper in self._sleepers if sleeper[0] <= self.now + 1e-9]:
                self._sleepers.remove(sleeper)
                sleeper[1].set()
            await settle()

    @asynccontextmanager
    async def open_session(self) -> AsyncIterator["FakeSession"]:
        if self.fault is not None:
            raise OpenError(self.fault)
        session = FakeSession(self)
        self.opened.append(session)
        yield session
        session.is_closed = True


async def settle() -> None:
    """Let everybody do what is due."""
    for _ in range(12):
        await asyncio.sleep(0)


class FakeSession:
    """A `Session` whose streams, lists and answers are the test's."""

    renews = True
    server_info = ServerInfo(name="fake", version="1", protocol_version="2026-07-28", era="modern")

    def __init__(self, world: World) -> None:
        self.world = world
        self.last_heard_at = world.now
        self.lost: asyncio.Future[ServerFault] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()
        self.streams: list[asyncio.Future[None]] = []
        self.stream_error: QueryError | None = None
        self.tools: list[dict[str, Any]] = [{"name": "a"}]
        self.probe_error: Callable[[], QueryError] | None = None
        self.probes = 0
        self.listings = 0
        self.listing_s = 0.0
        self.changes_when_listed = False
        self.calls: list[asyncio.Future[bytes]] = []
        self.is_closed = False

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
        call: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.calls.append(call)
        return await call

    async def catalogue(self) -> ListedCatalogue:
        self.listings += 1
        found = ListedCatalogue(tools=list(self.tools))
        if self.changes_when_listed:
            self.changed.set()
        await self.world.sleep(self.listing_s)
        return found

    async def probe(self, timeout_s: float) -> float:
        self.probes += 1
        if self.probe_error is not None:
            raise self.probe_error()
        self.last_heard_at = self.world.now
        return 0.012

    async def listen(self) -> None:
        if self.stream_error is not None:
            self.streams.append(asyncio.get_running_loop().create_future())
            raise self.stream_error
        stream: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.streams.append(stream)
        await stream

    async def lists_changed(self) -> None:
        await self.changed.wait()
        self.changed.clear()

    async def closed(self) -> ServerFault:
        return await asyncio.shield(self.lost)


@asynccontextmanager
async def keeping(world: World, *, owns_process: bool = True) -> AsyncIterator[SessionKeeper]:
    """Run a keeper in that world."""
    keeper = SessionKeeper(world.open_session, owns_process=owns_process, clock=lambda: world.now, sleep=world.sleep)
    task = asyncio.create_task(keeper.run())
    await settle()
    try:
        with anyio.fail_after(10):
            yield keeper
        assert not task.done() or task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


def latency(keeper: SessionKeeper) -> float | None:
    """The keeper's latency now, which the type checker must not remember."""
    return keeper.latency_s


def state(keeper: SessionKeeper) -> str:
    """The keeper's state now, likewise."""
    return keeper.status.state


def call(keeper: SessionKeeper, timeout_s: float = 30) -> "asyncio.Task[bytes]":
    """Begin a call."""
    return asyncio.create_task(keeper.request("tools/call", b"{}", timeout_s=timeout_s))
