"""A rollout as it is shown: live on a terminal, a line for each change in a pipe, one JSON object at the end."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from services.cli.errors import DONE, FAILED, report
from services.cli.location import Endpoint
from services.cli.rollouts import COMPLETED, Rollout, follow
from services.cli.tables import table, terminal
from services.runtime.text import json_text, one_line

VERSION_COLUMNS = ("VERSION", "SHARE", "REQUESTS", "ERRORS", "P95")
_STYLES = {"running": "cyan", "paused": "yellow", COMPLETED: "green", "rolled_back": "red", "failed": "red"}
_WIDTH = 40


def watch(admin: Endpoint, rollout: Rollout, *, as_json: bool) -> int:
    """Show a rollout until it is over; return 0 if the new version has taken over, else 1.

    A Ctrl-C ends the showing, not the rollout.
    """
    last = rollout
    try:
        for seen in _shown(follow(admin, rollout), as_json=as_json):
            last = seen
    except KeyboardInterrupt:
        report(f"the rollout of {last.title} goes on; see `busbar rollout show {last.id} --watch`")
        return FAILED
    if as_json:
        print(json_text(last.model_dump(mode="json")))
    return told(last)


def told(rollout: Rollout) -> int:
    """Say on stderr why a rollout has not come to its end; return the exit status."""
    if rollout.state == COMPLETED:
        return DONE
    report(f"{rollout.title}: {rollout.state.replace('_', ' ')}: {rollout.reason or 'no reason was given'}")
    return FAILED


def line(rollout: Rollout) -> str:
    """Return how a rollout stands, on one line."""
    reason = f": {rollout.reason}" if rollout.reason else ""
    return one_line(
        f"{rollout.title} {rollout.state.replace('_', ' ')}, step {rollout.step}, {rollout.weight:g} % on "
        f"{rollout.to_version}{reason}"
    )


def version_rows(rollout: Rollout) -> list[tuple[str, ...]]:
    """Return what was counted of both versions; the columns are `VERSION_COLUMNS`."""
    shares = {rollout.from_version: 100 - rollout.weight, rollout.to_version: rollout.weight}
    rows: list[tuple[str, ...]] = []
    for version, share in shares.items():
        seen = rollout.observed.get(version)
        counted = ("", "", "") if seen is None else (str(seen.requests), str(seen.errors), f"{seen.p95_ms:.1f} ms")
        rows.append((version, f"{share:g} %", *counted))
    return rows


def _shown(rollouts: Iterator[Rollout], *, as_json: bool) -> Iterator[Rollout]:
    if as_json:
        yield from rollouts
    elif sys.stdout.isatty():
        with Live(console=terminal(), auto_refresh=False) as live:
            for rollout in rollouts:
                live.update(screen(rollout), refresh=True)
                yield rollout
    else:
        yield from _printed(rollouts, lambda text: print(text, flush=True))


def _printed(rollouts: Iterator[Rollout], write: Callable[[str], None]) -> Iterator[Rollout]:
    before = ""
    for rollout in rollouts:
        text = line(rollout)
        if text != before:
            write(f"{datetime.now().astimezone():%H:%M:%S} {text}")
        before = text
        yield rollout


def screen(rollout: Rollout) -> RenderableType:
    """Return what is shown on a terminal."""
    style = _STYLES.get(rollout.state, "")
    return Group(
        Text.assemble((one_line(rollout.title), "bold"), "  ", (one_line(rollout.state.replace("_", " ")), style)),
        ProgressBar(total=100, completed=rollout.weight, width=_WIDTH),
        table(VERSION_COLUMNS, version_rows(rollout)),
        Text(one_line(rollout.reason or ""), style=style),
    )
