"""Tables, as wide as the terminal or, in a pipe, as wide as they need to be."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.runtime.text import one_line

_PIPED_WIDTH = 100_000  # a table in a pipe is never cut


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of one-line cells; where the terminal is too narrow, the last column is folded."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        grid.add_column(Text(column), no_wrap=True)
    grid.add_column(Text(columns[-1]), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(one_line(cell)) for cell in row))
    return grid


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as the terminal, or as wide as it needs to be in a pipe."""
    console = terminal()
    with console.capture() as capture:
        console.print(table(columns, rows))
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def terminal() -> Console:
    """Return stdout as rich knows it; markup and emoji codes mean nothing on it."""
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)
