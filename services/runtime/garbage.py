"""What lives as long as the process is kept out of the garbage collector's way."""

import gc
from typing import Final

_THRESHOLDS: Final = (2_000, 2, 2)
"""What some dozens of queries in flight hold, and free again by themselves, is no reason to collect: Python's own 700
took a twentieth of an orchestrator's time. But everything is looked through after some 20,000, not some 90,000:
failures leave cycles behind, which were 15 MB."""


def spare_collector() -> None:
    """Leave everything that there is now out of all later collections; called once, when a process has started.

    A full collection looks through all that was imported and built, with the whole process standing still: a tenth of
    a second on a core of its own, and on a busy machine long enough to miss a deadline.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # a full one waits until a quarter of what the last one has left is new: that is nothing now
    gc.set_threshold(*_THRESHOLDS)
