"""Traffic as the console shows it: of each server three small plots and, in numbers, the share of each version."""

from dataclasses import dataclass
from typing import Final

from services.admin.console.plots import LOOKS, Plot, draw
from services.admin.console.traffic import SECONDS, Point, Traffic, shares

_STEP_S: Final = 2
_POINTS: Final = SECONDS // _STEP_S


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """What one version has lately made of its calls."""

    version: str
    look: int
    """Of its line in the plots."""
    share: float
    """Of its server's requests, 0 to 1."""
    lately: Point


@dataclass(frozen=True, slots=True)
class ShownTraffic:
    """One server's."""

    server: str
    versions: list[ShownVersion]
    plots: list[Plot]


def shown_traffic(traffic: Traffic) -> list[ShownTraffic]:
    """Return the traffic of each server that is being counted, by name."""
    return [_shown(server, versions, traffic) for server, versions in traffic.versions().items()]


def _shown(server: str, versions: list[str], traffic: Traffic) -> ShownTraffic:
    lately = {version: traffic.lately((server, version)) for version in versions}
    of_all = shares(lately)
    history = {version: traffic.history((server, version), _STEP_S) for version in versions}
    requests = {version: [point.requests_per_s for point in points] for version, points in history.items()}
    errors = {version: [point.errors_per_s for point in points] for version, points in history.items()}
    p95 = {version: [point.p95_ms for point in points] for version, points in history.items()}
    return ShownTraffic(
        server,
        versions=[
            ShownVersion(version, at % LOOKS, of_all[version], lately[version]) for at, version in enumerate(versions)
        ],
        plots=[
            draw("Requests a second", "/s", requests, points=_POINTS),
            draw("Errors a second", "/s", errors, points=_POINTS),
            draw("95th percentile", " ms", p95, points=_POINTS),
        ],
    )
