"""Memory of large results goes back to the system when they are forgotten."""

import ctypes

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""

_LARGE_BYTES = 1 << 20


def return_large_blocks() -> None:
    """Give each block of a mebibyte and more a mapping of its own; called once, when a process starts.

    Left to itself, glibc raises that bound to the largest block it has seen freed (at most 32 MiB). After the first
    result of 15 MB all others lie in its heap, and one small block above them keeps a hundred megabytes from the
    system. Other C libraries have no such bound; there this does nothing.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGE_BYTES)
        set_option(_TRIM_THRESHOLD, 4 * _LARGE_BYTES)
