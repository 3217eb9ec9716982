"""What lives as long as the process is kept out of the garbage collector's way."""

import gc


def spare_collector() -> None:
    """Leave everything that there is now out of all later collections; called once, when a process has started.

    A full collection looks through all that was imported and built, with the whole process standing still: a tenth of
    a second on a core of its own, and on a busy machine long enough to miss a deadline.
    """
    gc.collect()
    gc.freeze()
