"""Whose processor time and memory it is: the parts of a way, each a process with what it has started."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import psutil

SERVER: Final = "server"
"""The name of the MCP server's own part, over HTTP or stdio."""

Components = Mapping[str, int]
"""The process ids of the parts, by name; whatever a part has started belongs to it, unless it is a part itself."""


def spent_s(components: Components) -> dict[str, float]:
    """Return the processor time that each part has taken so far, user's and system's, in seconds."""
    spent = dict.fromkeys(components, 0.0)
    for name, process in _processes(components):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent[name] += times.user + times.system
    return spent


def resident_mb(components: Components) -> dict[str, float]:
    """Return the resident memory of each part, in MB; pages that its processes share count for each of them."""
    resident = dict.fromkeys(components, 0.0)
    for name, process in _processes(components):
        with suppress(psutil.NoSuchProcess):
            resident[name] += process.memory_info().rss / 1e6
    return resident


def child(pid: int, command: Sequence[str]) -> int:
    """Return the process id of `command`, which the process `pid`, or one that it started, has started.

    Raises:
        LookupError: none of them has.
    """
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.cmdline() == list(command):
                return process.pid
    raise LookupError(f"{pid} has not started {' '.join(command)}")


def _processes(components: Components) -> Iterator[tuple[str, psutil.Process]]:
    """Yield each process with the name of the nearest part above it."""
    roots = {pid: name for name, pid in components.items()}
    pending = [(name, psutil.Process(pid)) for pid, name in roots.items()]
    while pending:
        name, process = pending.pop()
        yield name, process
        with suppress(psutil.NoSuchProcess):
            pending += [(name, child) for child in process.children() if child.pid not in roots]
