"""Reads the configuration anew when that is ordered: first only to say what it is, then to put it into force."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from bus_schemas import subjects
from bus_schemas.config import (
    ApplyConfig,
    ConfigApplied,
    ConfigOrder,
    ConfigPrepared,
    PrepareConfig,
    ServiceKind,
    decode_config_order,
)
from bus_schemas.envelope import Message
from services.runtime.bus import Bus
from services.runtime.bus.orders import OrderTaker
from services.runtime.config.errors import ConfigError
from services.runtime.config.file import load_policy
from services.runtime.config.policy import LivePolicy, Policy, difference

log = logging.getLogger(__name__)


class ConfigFollower:
    """Swaps what a `LivePolicy` holds. Made by `following_config`."""

    def __init__(self, policy: LivePolicy, path: Path, *, instance: str, service: ServiceKind) -> None:
        self._policy = policy
        self._path = path
        self._instance = instance
        self._service: ServiceKind = service
        self._prepared: tuple[str, Policy] | None = None

    async def obey(self, order: ConfigOrder) -> Message | None:
        """Prepare, or apply; one that was never prepared, or is not what the file says, is not applied."""
        match order:
            case PrepareConfig():
                return await self._prepare()
            case ApplyConfig():
                return await self._apply(order.digest)

    async def _prepare(self) -> ConfigPrepared:
        try:
            digest, policy = await self._read()
        except ConfigError as error:
            return ConfigPrepared(instance=self._instance, service=self._service, problems=error.without_values())
        told = difference(self._policy, policy)._asdict()
        return ConfigPrepared(instance=self._instance, service=self._service, digest=digest, **told)

    async def _apply(self, digest: str) -> ConfigApplied | None:
        if self._prepared is None or self._prepared[0] != digest:
            # Whoever did not hear, or has not answered, the first order obeys the second all the same.
            with suppress(ConfigError):
                await self._read()
        if self._prepared is None or self._prepared[0] != digest:
            log.warning("configuration is not the one that shall be in force, it is not applied")
            return None
        log.info("configuration applied", extra=difference(self._policy, self._prepared[1])._asdict())
        self._policy.replace(self._prepared[1])
        return ConfigApplied(instance=self._instance, service=self._service)

    async def _read(self) -> tuple[str, Policy]:
        policy = await asyncio.to_thread(load_policy, self._path)
        self._prepared = policy.digest(), policy
        return self._prepared


@asynccontextmanager
async def following_config(
    bus: Bus, policy: LivePolicy, path: Path, *, instance: str, service: ServiceKind
) -> AsyncIterator[None]:
    """Let a reload change `policy` for as long as the context is open.

    Args:
        bus: where it is ordered.
        policy: what this process goes by.
        path: the file that it was read from.
        instance: who we are.
        service: what we are.
    """
    follower = ConfigFollower(policy, path, instance=instance, service=service)
    orders = OrderTaker(bus, decode_config_order, follower.obey)
    subscription = await bus.subscribe(subjects.CONFIG, orders.take)
    try:
        yield
    finally:
        await subscription.drain()
