"""What was measured, as a picture: what a query costs the gateway, and how many come through."""

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.peers.measuring import Level
from tests.bench.peers.report import Report, middle

COMPARED: Final = 32
"""The callers of the costs that are compared."""

_MARKERS: Final = "os^D"
_CHEAPEST_MS: Final = 0.1
"""Where the bars begin: there is no nothing on a logarithmic scale."""


def draw(report: Report, path: Path) -> None:
    """Draw it into `path`."""
    figure = Figure(figsize=(12, 0.4 * len(report.ways) + 1.8), layout="constrained")
    costs, rates = figure.subplots(1, 2, sharey=True)
    _draw_costs(costs, report)
    _draw_rates(rates, report)
    costs.set_yticks(range(len(report.ways)), report.ways)
    costs.invert_yaxis()
    figure.savefig(path, dpi=110)


def _draw_costs(axes: Axes, report: Report) -> None:
    level = _compared(report)
    axes.set(
        title=f"processor time of the gateway per query, {level.callers} callers", xlabel="milliseconds", xscale="log"
    )
    for place, way in enumerate(report.ways):
        cost_ms = middle(level.runs[way]).gateway_us / 1000 if way in level.runs else 0.0
        if cost_ms:
            bar = axes.barh(place, cost_ms, color="tab:orange" if way.startswith("Busbar") else "tab:gray")
            axes.bar_label(bar, fmt="%.2f", padding=3)
    axes.set_xlim(left=_CHEAPEST_MS, right=5 * axes.get_xlim()[1])


def _draw_rates(axes: Axes, report: Report) -> None:
    axes.set(title="queries a second", xscale="log")
    axes.grid(axis="x", alpha=0.3)
    for marker, level in zip(_MARKERS, report.levels, strict=False):
        places = [place for place, way in enumerate(report.ways) if level.per_s(way)]
        rates = [level.per_s(report.ways[place]) for place in places]
        axes.plot(rates, places, marker, label=f"{level.callers} {'caller' if level.callers == 1 else 'callers'}")
    axes.legend(loc="lower right")


def _compared(report: Report) -> Level:
    return next((level for level in report.levels if level.callers == COMPARED), report.levels[-1])
