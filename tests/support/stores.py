"""Stores to break: Valkey from its wheel and, where it is installed, Redis; and clients of them, for tests."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio as redis

from services.runtime.lifecycle import Lifecycle
from services.runtime.store import Store, open_store
from tests.support.image_process import images_are_wanted
from tests.support.servers import ValkeyServer

STORES = ("valkey-server", "redis-server")
"""What `store_server` can start."""


class StoreServer(ValkeyServer):
    """A Redis reads the same configuration and says the same."""

    def __init__(self, folder: Path, program: str, *, config: str = "") -> None:
        super().__init__(folder, config=config)
        self._program = program

    def configure(self, config: str) -> None:
        """Take another configuration from the next start on."""
        self._config = config

    @asynccontextmanager
    async def client(self) -> AsyncIterator[redis.Redis]:
        """Connect by other means than ours."""
        async with redis.Redis.from_url(self.url) as client:
            await client.ping()
            yield client

    def _argv(self) -> list[str]:
        argv = super()._argv()
        return [self._program, *argv[1:]] if self._program == "redis-server" else argv


@asynccontextmanager
async def store_server(program: str, *, config: str = "") -> AsyncIterator[StoreServer]:
    """Run a store of one's own: one of STORES. The test is skipped where it is not installed."""
    if program == "redis-server" and not images_are_wanted() and shutil.which(program) is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="busbar-store-") as folder:
        server = StoreServer(Path(folder), program, config=config)
        try:
            await server.start_on_free_port()
            yield server
        finally:
            server.end()


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Store]:
    """Open the store at `url` with a lifecycle of its own, which nothing may have ended."""
    async with Lifecycle() as life, open_store(url, life) as store:
        yield store
        assert not life.stopping.is_set()
