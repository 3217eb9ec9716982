"""Replaces this process with one of the services, so that signals reach the service itself."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def become(service: str, arguments: Sequence[str] = ()) -> NoReturn:
    """Turn into `python -m services.<service>`; the process id stays the same.

    Raises:
        OSError: the interpreter cannot be started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a folder named `services` where the user happens to be is not ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", f"services.{service}", *arguments])  # noqa: S606
