"""Whether processes of this machine live."""

import os


def is_alive(pid: int) -> bool:
    """Return whether there is a process `pid`, whoever owns it."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
