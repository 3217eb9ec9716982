"""Writes the dashboards' JSON: `python -m monitoring.grafana.build`; `--check` only tells whether it is current."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from monitoring.grafana.cache_and_bus import CACHE_AND_BUS
from monitoring.grafana.fleet import FLEET
from monitoring.grafana.one_server import ONE_SERVER
from monitoring.grafana.overview import OVERVIEW
from monitoring.grafana.panels import Dashboard, written

FOLDER: Final = Path(__file__).parent / "dashboards"
DASHBOARDS: Final = (OVERVIEW, ONE_SERVER, FLEET, CACHE_AND_BUS)


def text_of(dashboard: Dashboard) -> str:
    """Return the text of its file."""
    return json.dumps(written(dashboard), indent=2, ensure_ascii=False) + "\n"


def path_of(dashboard: Dashboard) -> Path:
    """Return where its file is."""
    return FOLDER / f"{dashboard.uid}.json"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m monitoring.grafana.build", description="Write the dashboards.")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if a file is not current")
    options = parser.parse_args(argv)
    stale = [dashboard for dashboard in DASHBOARDS if not _is_current(dashboard)]
    for dashboard in stale:
        if options.check:
            sys.stderr.write(f"{path_of(dashboard)} is not current: python -m monitoring.grafana.build\n")
        else:
            path_of(dashboard).write_text(text_of(dashboard), encoding="utf-8")
    return 1 if options.check and stale else 0


def _is_current(dashboard: Dashboard) -> bool:
    path = path_of(dashboard)
    return path.exists() and path.read_text(encoding="utf-8") == text_of(dashboard)


if __name__ == "__main__":
    raise SystemExit(main())
