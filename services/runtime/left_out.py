"""Imports libraries without parts that are not used: an import is most of what the start of a process costs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_out(*optional: str) -> Iterator[None]:
    """Let libraries that are imported inside find those optional modules not installed.

    What is imported already stays; afterwards, everybody can import them.
    """
    absent = [name for name in optional if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: the import fails
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
