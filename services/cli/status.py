"""`busbar status`: the fleet at a glance."""

import sys
from typing import Annotated

import typer

from services.cli.errors import DONE, CommandError, report
from services.cli.fleet_view import (
    PROCESS_COLUMNS,
    SERVER_COLUMNS,
    WORKER_COLUMNS,
    headline,
    process_rows,
    server_rows,
    worker_rows,
)
from services.cli.location import System, find_system
from services.cli.options import AsJson, StateDir
from services.cli.snapshot import Snapshot, take_snapshot
from services.cli.tables import print_table
from services.cli.watching import watch_lines, watch_screen
from services.runtime.text import json_text, one_line


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> int:
    """Show how the servers, workers and processes are.

    Says why a server is down, and where its stderr is kept. The workers need an admin key. With --json: the
    object that `busbar up --json` printed, or, where no `up` runs, what the services tell.

    Examples:

        busbar status
        busbar status --watch
    """
    if watch and as_json:
        raise typer.BadParameter("--watch and --json exclude each other")
    system = find_system(state_dir)
    if watch:
        (watch_screen if sys.stdout.isatty() else watch_lines)(lambda: find_system(state_dir))
        return DONE
    if as_json and system.run is not None:
        print(json_text(system.run.shown))
        return DONE
    snapshot = take_snapshot(system)
    if snapshot.is_blank:
        raise CommandError("; ".join(snapshot.troubles))
    if as_json:
        print(json_text(_document(snapshot)))
        return DONE
    _show(snapshot, system)
    for trouble in snapshot.troubles:
        report(trouble)
    return DONE


def _show(snapshot: Snapshot, system: System) -> None:
    if line := headline(snapshot):
        print(one_line(line))
    _section(SERVER_COLUMNS, [row.cells() for row in server_rows(snapshot, system.run)])
    _section(WORKER_COLUMNS, worker_rows(snapshot))
    if system.run is not None:
        _section(PROCESS_COLUMNS, process_rows(system.run))


def _section(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        print()
        print_table(columns, rows)


def _document(snapshot: Snapshot) -> dict[str, object]:
    parts = {"servers": snapshot.servers, "health": snapshot.health, "workers": snapshot.workers}
    told = {name: part.model_dump(mode="json", exclude_none=True) if part else None for name, part in parts.items()}
    return {**told, "troubles": snapshot.troubles}
