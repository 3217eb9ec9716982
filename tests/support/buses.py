"""Connections to NATS as services have them, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from services.runtime.bus import Bus, Inbox, open_bus, open_inbox
from services.runtime.lifecycle import Lifecycle, new_instance_id


class Connected(NamedTuple):
    """What `connected` yields."""

    bus: Bus
    inbox: Inbox
    life: Lifecycle


@asynccontextmanager
async def connected(url: str, *, service: str = "test", connect_timeout_s: float = 5.0) -> AsyncIterator[Connected]:
    """Connect to the NATS at `url` as an instance of `service`, with a lifecycle of its own."""
    async with (
        Lifecycle() as life,
        open_bus(
            url, service=service, instance=new_instance_id(), life=life, connect_timeout_s=connect_timeout_s
        ) as bus,
        open_inbox(bus) as inbox,
    ):
        yield Connected(bus, inbox, life)
