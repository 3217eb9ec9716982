"""`python -m tests.bench.capacity [ROW…] [--json FILE]`: measure all rows, or those that are named."""

import argparse
import json
import sys
from pathlib import Path

import uvloop

from tests.bench.capacity.figures import HEAD, Figure, as_json
from tests.bench.capacity.rows import ROWS
from tests.bench.wrk import has_wrk


async def measure(names: list[str]) -> dict[str, list[Figure]]:
    """Measure one row after another, and print each when it is there."""
    found = {}
    for name in names:
        row = ROWS[name]
        found[name] = await row.measure()
        print(f"\n### {row.title} (`{name}`)\n\n{HEAD}", *found[name], sep="\n", flush=True)
    return found


def main() -> int:
    """Return 0 if every figure keeps its bounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capacity")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if unknown := set(options.rows) - ROWS.keys():
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if not has_wrk():
        sys.stderr.write("there is no wrk here: apt-get install wrk\n")
        return 1
    found = uvloop.run(measure(options.rows or list(ROWS)))
    if options.json is not None:
        told = [one for name, figures in found.items() for one in as_json(name, figures)]
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if all(figure.holds for figures in found.values() for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
