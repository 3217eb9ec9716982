"""When the machine itself stands still, as virtual ones do; seen by a process of its own, which goes before others."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from tests.support.processes import python_process

_PAUSE_S: Final = 0.02

Span = tuple[float, float]
"""From when to when, in seconds of the monotonic clock, which all processes share."""


@asynccontextmanager
async def pauses() -> AsyncIterator[Callable[[], list[Span]]]:
    """Watch for pauses of the machine; yields what tells those so far."""
    async with python_process("tests.support.pauses") as watching:
        yield lambda: [
            (float(began), float(ended)) for began, ended in (line.split() for line in watching.stdout().splitlines())
        ]


def _watch() -> None:
    """Print when the machine stands still, for ever."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    for cpu in os.sched_getaffinity(0):
        threading.Thread(target=_sleep_on, args=[cpu]).start()


def _sleep_on(cpu: int) -> None:
    os.sched_setaffinity(0, [cpu])
    while True:
        began = time.monotonic()
        time.sleep(0.002)
        ended = time.monotonic()
        if ended - began > _PAUSE_S:
            sys.stdout.write(f"{began} {ended}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _watch()
