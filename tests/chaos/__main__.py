"""The command: `python -m tests.chaos [ROW…] [--short] [--soak MINUTES]` runs rows and prints their table."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from tests.chaos import suite, table
from tests.chaos.fault import Fault
from tests.chaos.running import PATIENCE_SHORT, Report, Runner, runner
from tests.chaos.soak import soak
from tests.support.processes import ProcessDiedError


def tell(report: Report) -> None:
    """Print a row, and what was wrong with it."""
    print(table.row(report), flush=True)  # noqa: T201
    for wrong in report.wrong:
        complain(report.fault.name, wrong)


def complain(name: str, wrong: str) -> None:
    """Print what did not hold."""
    print(f"    WRONG {name}: {wrong}", file=sys.stderr, flush=True)  # noqa: T201


async def run(faults: list[Fault], *, is_short: bool) -> bool:
    """Run rows in their order; whether all held."""
    print(table.HEADER, flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="busbar-chaos-") as folder:
        async with runner(Path(folder), is_short=is_short, patience=PATIENCE_SHORT if is_short else 1.0) as rows:
            held = [await run_one(rows, fault) for fault in faults]
    return all(held)


async def run_one(rows: Runner, fault: Fault) -> bool:
    """Run a row and print it; whether it held. One that does not come to its end stops no other."""
    try:
        report = await rows.run(fault)
    except (ProcessDiedError, TimeoutError, RuntimeError) as error:
        complain(fault.name, f"it did not come to its end: {error!r}")
        return False
    tell(report)
    return not report.wrong


async def run_soak(faults: list[Fault], minutes: float) -> bool:
    """Run rows in turn for so long; whether all held, and the processes stayed as they were."""
    print(table.HEADER, flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="busbar-soak-") as folder:
        soaked = await soak(faults, Path(folder), minutes=minutes, tell=tell)
    print("", *soaked.figures, sep="\n")  # noqa: T201
    for wrong in soaked.wrong:
        complain("soak", wrong)
    return not soaked.wrong


async def unless_told_to_end(work: Callable[[], Awaitable[bool]]) -> bool:
    """Do `work`; a SIGTERM ends it, and with it everything that it has started."""
    held = False
    async with anyio.create_task_group() as group:

        async def heed_signal() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                await anext(aiter(signals))
                group.cancel_scope.cancel()

        group.start_soon(heed_signal)
        held = await work()
        group.cancel_scope.cancel()
    return held


def main() -> int:
    names = [fault.name for fault in suite.FAULTS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults under load, with ledgers.")
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"by default all whose protection is built; {', '.join(names)}"
    )
    parser.add_argument("--short", action="store_true", help="as in CI: little load, five times the patience")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="all of it in turn for so long")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(names):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    faults = [fault for fault in suite.FAULTS if fault.name in options.rows] or list(suite.FAULTS)
    if options.soak is not None:
        return 0 if anyio.run(unless_told_to_end, lambda: run_soak(faults, options.soak)) else 1
    return 0 if anyio.run(unless_told_to_end, lambda: run(faults, is_short=options.short)) else 1


if __name__ == "__main__":
    sys.exit(main())
