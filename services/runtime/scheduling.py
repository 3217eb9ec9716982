"""How the kernel shares the processors between us and others: whoever has one keeps it a little longer.

A query wakes five processes in turn. By its usual policy the kernel lets each that wakes interrupt whoever runs, who
then finds the processor's caches full of somebody else's work. By SCHED_BATCH it waits until the other has finished,
or had its share of some milliseconds, and finds more to do at once.

Source: sched(7); docs/decisions/0019-scheduling.md has the figures.
"""

import contextlib
import os


def prefer_batches() -> None:
    """Interrupt nobody who runs; called once, when a process starts.

    What it starts is scheduled like it, but for MCP servers: all calls wait for theirs, which should not wait for us.
    A policy that the operator has chosen stays as it is, as does one that the system does not let us change.
    """
    with contextlib.suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
