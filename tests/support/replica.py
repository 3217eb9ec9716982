"""An orchestrator as the rest of the fleet knows it: it says that it lives, and acknowledges flushes.

`python -m tests.support.replica INSTANCE` does so until SIGTERM, on the bus of BUSBAR_NATS_URL, and prints `ready`, and
`flushed` for each flush: a process that a test may freeze or kill. `replica()` is one without a process.
"""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from services.orchestrator.flushes import obeying_flushes
from services.orchestrator.presence import present
from services.runtime.bus import open_bus
from services.runtime.lifecycle import Lifecycle


@dataclass(slots=True)
class Replica:
    """What a test may look at and set."""

    hits: int = 0
    misses: int = 0
    flushes: int = 0
    """How often it was told to distrust what it keeps."""

    def distrust(self) -> None:
        self.flushes += 1


@asynccontextmanager
async def replica(url: str, instance: str, *, hits: int = 0, misses: int = 0) -> AsyncIterator[Replica]:
    """Live on the bus at `url` until the context is left, in order."""
    life = Lifecycle()
    counted = Replica(hits, misses)
    async with _living(url, instance, life, counted, counted.distrust):
        yield counted


@asynccontextmanager
async def _living(
    url: str, instance: str, life: Lifecycle, counted: Replica, distrust: Callable[[], None]
) -> AsyncIterator[None]:
    async with (
        life,
        open_bus(url, service="orchestrator", instance=instance, life=life) as bus,
        obeying_flushes(bus, instance=instance, distrust=distrust),
        present(bus, life, instance=instance, hits=lambda: counted.hits, misses=lambda: counted.misses),
    ):
        yield


async def _live(instance: str) -> None:
    life = Lifecycle()
    life.obey_signals()
    async with _living(os.environ["BUSBAR_NATS_URL"], instance, life, Replica(), lambda: _say("flushed")):
        _say("ready")
        await life.stopping.wait()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(_live, sys.argv[1])
