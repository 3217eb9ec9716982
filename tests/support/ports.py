"""Free ports for the servers of tests."""

import os
import random
import re
import socket
from collections.abc import Iterator
from itertools import cycle
from typing import Final

_FIRST: Final = 20_000
_COUNT: Final = 4_000
"""Of each test process, three of them below 32768: where Linux begins with the ports of outgoing connections.

A port out of that range may become some connection's between our look and the server's start.
"""


def _ports() -> Iterator[int]:
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % 3
    first = _FIRST + worker * _COUNT
    start = random.randrange(_COUNT)  # noqa: S311
    return cycle(first + (start + offset) % _COUNT for offset in range(_COUNT))


_candidates = _ports()


def free_port() -> int:
    """Return a TCP port that was free on 127.0.0.1 a moment ago, and that no other test of this run was given."""
    for port in _candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports go round")
