"""What a peer is, and the MCP server that stands behind all of them."""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from tests.bench.ways import Way

STDIO_COMMAND: Final = (sys.executable, "-m", "tests.bench.echo_server", "--stdio")
"""The same server, for a peer that starts it itself; in the folder of the repository."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server over HTTP, one for all."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Peer:
    """One gateway, and how it is started and asked."""

    name: str
    """Of its folder in `.peers`, and of its lock."""
    package: str
    opened: Callable[[Upstream], AbstractAsyncContextManager[list[Way]]]
    """Runs it; entered when each of its ways has been found, and left when nothing of it runs any more.

    Raises:
        NotInstalledError: `make peers` has not installed it.
        ProcessDiedError: it ended before it listened.
        TimeoutError: it did not listen in time.
    """
