"""Draws each dashboard's panels from a run that a real Prometheus watched: `python -m tests.monitoring.draw`."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from monitoring.grafana.build import DASHBOARDS
from monitoring.grafana.panels import Dashboard, Panel, written
from tests.monitoring.prometheus import Series
from tests.monitoring.watched import LOST, Watched, watch
from tests.support.processes import REPOSITORY

FOLDER: Final = REPOSITORY / "docs" / "img"

_INCHES_PER_COLUMN, _INCHES_PER_LINE = 0.72, 0.34
_LEFT, _RIGHT, _ABOVE, _BELOW = 1.0, 0.15, 0.32, 0.3
"""Around the axes of a panel, in inches."""
_GRAFANA: Final = {"green": "#56a64b", "red": "#e02f44", "yellow": "#f2cc0c", "purple": "#a352cc", "blue": "#3274d9"}
_LEGEND_LINES: Final = 8
_LONG_NAME: Final = 22
_GAP_S: Final = 1.5
_QUIET_S: Final = 20.0
"""Before the first fault and after the last, so that one sees what is usual."""


def draw(dashboard: Dashboard, seen: Watched, path: Path) -> None:
    """Write one picture of a page, laid out as Grafana lays it out."""
    server = LOST if dashboard.variables else ""
    places = written(dashboard)["panels"]
    lines = max(place["gridPos"]["y"] + place["gridPos"]["h"] for place in places)
    page = _Page(lines)
    page.headline(0, f"{dashboard.title} ({server})" if server else dashboard.title, size=14)
    page.remark(f"Seconds of a test run. Where it is red, the server {LOST!r} had been killed.")
    panels = iter(dashboard.panels)
    for place in places:
        if place["type"] == "row":
            page.headline(place["gridPos"]["y"] + 1, place["title"], size=10)
            continue
        panel = next(panels)
        axes = page.axes(place["gridPos"])
        axes.set_title(panel.title)
        _draw_panel(axes, panel, seen.panels[dashboard.uid, server, panel.title], seen)
    page.figure.savefig(path, dpi=80)


class _Page:
    """Grafana's grid of 24 columns on paper, with a line for the title above it."""

    def __init__(self, lines: int) -> None:
        self._wide, self._high = 24 * _INCHES_PER_COLUMN, (lines + 1) * _INCHES_PER_LINE
        self.figure = Figure(figsize=(self._wide, self._high))

    def headline(self, line: int, text: str, *, size: int) -> None:
        """Write over the whole width of a line, counted from the top."""
        y = 1 - (line + 0.5) * _INCHES_PER_LINE / self._high
        self.figure.text(0.01, y, text, fontsize=size, va="center", weight="bold")

    def remark(self, text: str) -> None:
        """Write at the head of the page, on the right."""
        y = 1 - 0.5 * _INCHES_PER_LINE / self._high
        self.figure.text(0.99, y, text, fontsize=8, va="center", ha="right", color="grey")

    def axes(self, at: Mapping[str, int]) -> Axes:
        """Return the axes of a panel, with room for what stands around them."""
        left = at["x"] * _INCHES_PER_COLUMN + _LEFT
        bottom = self._high - (at["y"] + 1 + at["h"]) * _INCHES_PER_LINE + _BELOW
        wide = at["w"] * _INCHES_PER_COLUMN - _LEFT - _RIGHT
        high = at["h"] * _INCHES_PER_LINE - _BELOW - _ABOVE
        return self.figure.add_axes((left / self._wide, bottom / self._high, wide / self._wide, high / self._high))


def _draw_panel(axes: Axes, panel: Panel, found: Sequence[Sequence[Series]], seen: Watched) -> None:
    if panel.kind == "stat":
        _draw_number(axes, panel, found[0][0].values[-1])
        return
    named = [
        (_name(query.legend, line), line)
        for query, lines in zip(panel.queries, found, strict=True)
        for line in sorted(lines, key=lambda line: sorted(line.labels.items()))
    ]
    axes.set_xlim(0, seen.ended_at - seen.began_at)
    axes.axvspan(seen.killed_at - seen.began_at, seen.restarted_at - seen.began_at, color="red", alpha=0.07, lw=0)
    if panel.kind == "state-timeline":
        _draw_states(axes, panel, named, seen.began_at)
    else:
        _draw_lines(axes, panel, named, seen.began_at)


def _draw_number(axes: Axes, panel: Panel, value: float) -> None:
    is_bad = (panel.red_above is not None and value >= panel.red_above) or (
        panel.red_below is not None and value < panel.red_below
    )
    axes.axis("off")
    colour = _GRAFANA["red" if is_bad else "green"]
    axes.text(0.5, 0.4, _written(value, panel.unit), fontsize=20, ha="center", va="center", color=colour)


def _draw_lines(axes: Axes, panel: Panel, named: Sequence[tuple[str, Series]], start: float) -> None:
    for name, line in named:
        moments, values = _with_gaps(line)
        axes.plot([moment - start for moment in moments], values, lw=1, label=name)
    top = max(value for _, line in named for value in line.values)
    limit = panel.red_above if panel.red_above is not None else panel.red_below
    if limit is not None and limit < 4 * top:
        axes.axhline(limit, color=_GRAFANA["red"], lw=0.8, ls="--")
    axes.set_ylim(0, 1.15 * max(top, limit if limit is not None and limit < 4 * top else 0) or 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _written(value, panel.unit)))
    axes.legend(loc="upper left", ncols=1 + len(named) // _LEGEND_LINES)


def _draw_states(axes: Axes, panel: Panel, named: Sequence[tuple[str, Series]], start: float) -> None:
    states = panel.states or {}
    for row, (_, line) in enumerate(named):
        for (moment, value), (following, _) in zip(line.points, line.points[1:], strict=False):
            axes.broken_barh(
                [(moment - start, following - moment)], (row - 0.4, 0.8), color=_GRAFANA[states[int(value)][1]]
            )
    axes.set_yticks(range(len(named)), [name for name, _ in named])
    axes.set_ylim(len(named) - 0.5, -0.5)
    axes.grid(visible=False)


def _with_gaps(line: Series) -> tuple[list[float], list[float]]:
    """Return moments and values, with a nan wherever there was nothing for a while: no line is drawn over it."""
    moments: list[float] = []
    values: list[float] = []
    for moment, value in line.points:
        if moments and moment - moments[-1] > _GAP_S:
            moments.append(moment)
            values.append(math.nan)
        moments.append(moment)
        values.append(value)
    return moments, values


def _name(legend: str, line: Series) -> str:
    for label, value in line.labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    name = legend.replace("$server", LOST)
    return name if len(name) <= _LONG_NAME else f"{name[: _LONG_NAME - 1]}…"


def _written(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{100 * value:.3g} %" if abs(value) < 10 else f"{100 * value:,.0f} %"
        case "s":
            return f"{value:.3g} s" if value >= 1 or value == 0 else f"{1000 * value:.3g} ms"
        case "bytes":
            steps = min(3, int(math.log2(value) // 10)) if value >= 1 else 0
            return f"{value / 1024**steps:.3g} {('B', 'KiB', 'MiB', 'GiB')[steps]}"
        case "reqps":
            return f"{value:.3g} /s"
        case _:
            return f"{value:.4g}"


def main() -> None:
    """Make the run and write every picture."""
    style.use(Path(__file__).with_suffix(".mplstyle"))
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="busbar-watched-") as folder:
        seen = anyio.run(watch, Path(folder), _QUIET_S)
    for dashboard in DASHBOARDS:
        draw(dashboard, seen, FOLDER / f"{dashboard.uid}.png")


if __name__ == "__main__":
    main()
