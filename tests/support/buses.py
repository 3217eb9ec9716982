"""Connections to NATS as services have them, for tests."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

import pytest

from services.runtime.bus import Bus, BusAwayError, BusMessage, Inbox, connection, open_bus, open_inbox
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


class Ear:
    """A handler that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def hear(self, message: BusMessage) -> None:
        self.heard.append(message.data)


def be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make reconnects, echoes and fences need no patience."""
    monkeypatch.setattr(connection, "_RECONNECT_WAIT_S", 0.02)
    monkeypatch.setattr(connection, "_ECHO_INTERVAL_S", 0.05)
    monkeypatch.setattr(connection, "_ECHO_TIMEOUT_S", 0.2)
    monkeypatch.setattr(connection, "_FENCE_TIMEOUT_S", 1.0)


@contextmanager
def refused_address() -> Iterator[str]:
    """The address of a server that is not there, at a port that nobody else takes meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"nats://busbar@127.0.0.1:{holder.getsockname()[1]}"


async def until_answered(bus: Bus) -> None:
    """Return when a fence succeeds."""
    while True:
        try:
            return await bus.fence()
        except BusAwayError:
            await asyncio.sleep(0.01)
