"""Reads the configuration of this worker's server anew when that is ordered; how it is reached stays as it is.

What a call may take, and which headers reach the server, holds from then on. For all else the worker is replaced: by
the supervisor, or by whatever starts workers where there is none.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bus_schemas import subjects
from bus_schemas.config import (
    ApplyConfig,
    ConfigApplied,
    ConfigOrder,
    ConfigPrepared,
    PrepareConfig,
    decode_config_order,
)
from bus_schemas.envelope import Message
from services.runtime.bus import Bus
from services.runtime.bus.orders import OrderTaker
from services.runtime.config.errors import ConfigError
from services.runtime.config.file import load_policy
from services.worker.execution import Execution

log = logging.getLogger(__name__)


class ConfigReading:
    """Reads the file again."""

    def __init__(
        self,
        execution: Execution,
        path: Path,
        read_connection: Callable[[], object],
        *,
        server: str,
        instance: str,
        is_pinned: bool,
    ) -> None:
        """Take what goes by the policy, and what is read.

        Args:
            execution: of this worker's calls.
            path: the configuration's file.
            read_connection: reads how the server is reached; raises ConfigError.
            server: whose worker this is.
            instance: who we are.
            is_pinned: whether a supervisor checks the configuration; else we check our own server's private keys.
        """
        self._execution = execution
        self._path = path
        self._read_connection = read_connection
        self._server = server
        self._instance = instance
        self.is_pinned = is_pinned

    async def obey(self, order: ConfigOrder) -> Message | None:
        """Check what is in the file, or go by it."""
        match order:
            case PrepareConfig():
                problems = await asyncio.to_thread(self._problems)
                return ConfigPrepared(instance=self._instance, service="worker", problems=problems)
            case ApplyConfig():
                return await self._apply()

    def _problems(self) -> list[str]:
        try:
            if self._server in load_policy(self._path).servers:
                self._read_connection()
        except ConfigError as error:
            return error.without_values()
        return []

    async def _apply(self) -> ConfigApplied | None:
        try:
            policy = (await asyncio.to_thread(load_policy, self._path)).servers.get(self._server)
        except ConfigError:
            log.warning("configuration is not valid, it is not applied")
            return None
        if policy is not None:
            self._execution.obey(timeout_s=policy.timeout_s, forward_headers=policy.forward_headers)
        return ConfigApplied(instance=self._instance, service="worker")


@asynccontextmanager
async def reading_config_anew(bus: Bus, reading: ConfigReading) -> AsyncIterator[None]:
    """Obey for as long as the context is open. Whoever has a supervisor is asked for nothing: it has checked it all."""
    orders = OrderTaker(bus, decode_config_order, reading.obey)
    subscriptions = [await bus.subscribe(subjects.WORKER_CONFIG, orders.take)]
    if not reading.is_pinned:
        subscriptions.append(await bus.subscribe(subjects.CONFIG, orders.take))
    try:
        yield
    finally:
        for subscription in subscriptions:
            await subscription.drain()
