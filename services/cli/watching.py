"""`busbar status --watch`: live on a terminal, a line for each change in a pipe."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from services.cli.fleet_view import (
    PROCESS_COLUMNS,
    SERVER_COLUMNS,
    WORKER_COLUMNS,
    headline,
    process_rows,
    server_rows,
    worker_rows,
)
from services.cli.location import System
from services.cli.snapshot import Snapshot, take_snapshot
from services.cli.tables import table, terminal
from services.runtime.text import one_line

_EVERY_S = 1.0


def watch_screen(find: Callable[[], System]) -> None:
    """Show the fleet until Ctrl-C; the screen is as before when it ends."""
    try:
        with Live(console=terminal(), screen=True, auto_refresh=False) as live:
            for system, snapshot in _snapshots(find):
                live.update(_screen(snapshot, system), refresh=True)
    except KeyboardInterrupt:
        return


def watch_lines(find: Callable[[], System]) -> None:
    """Print a line for each server and each trouble, and again when it changes, until Ctrl-C."""
    told: set[str] = set()
    try:
        for system, snapshot in _snapshots(find):
            lines = changes(snapshot, system)
            for line in lines:
                if line not in told:
                    print(f"{_now()} {line}", flush=True)
            told = set(lines)
    except KeyboardInterrupt:
        return


def changes(snapshot: Snapshot, system: System) -> list[str]:
    """Return the lines that tell how the fleet is, without what changes all the time."""
    lines = [row.line() for row in server_rows(snapshot, system.run)]
    lines += snapshot.troubles
    return [one_line(line) for line in lines]


def _snapshots(find: Callable[[], System]) -> Iterator[tuple[System, Snapshot]]:
    while True:
        system = find()  # anew each time: `up` tells of restarted processes in its state file, and may end
        yield system, take_snapshot(system)
        time.sleep(_EVERY_S)


def _screen(snapshot: Snapshot, system: System) -> RenderableType:
    parts: list[RenderableType] = [Text(one_line(f"{_now()} {headline(snapshot)}"), style="bold"), Text()]
    parts += [table(SERVER_COLUMNS, [row.cells() for row in server_rows(snapshot, system.run)]), Text()]
    if workers := worker_rows(snapshot):
        parts += [table(WORKER_COLUMNS, workers), Text()]
    if system.run is not None:
        parts += [table(PROCESS_COLUMNS, process_rows(system.run)), Text()]
    parts += [Text(one_line(trouble), style="red") for trouble in snapshot.troubles]
    return Group(*parts)


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
