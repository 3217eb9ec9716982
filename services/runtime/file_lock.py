"""A file that one process at a time may change."""

import fcntl
import time
from typing import Final

_POLL_S: Final = 0.005


def lock_file(descriptor: int, *, limit_s: float) -> None:
    """Lock an open file, also against other processes; closing it lets go.

    Raises:
        BlockingIOError: somebody else had it for `limit_s` seconds.
    """
    give_up_at = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(_POLL_S)
