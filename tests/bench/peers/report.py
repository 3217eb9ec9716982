"""What was measured, as JSON with every round, and as tables of the medians."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.bench.components import SERVER
from tests.bench.peers.measuring import Level
from tests.bench.wrk import Run

_HEAD = (
    "| way | per second | p50 | p99 | errors | gateway, per query | server, per query | memory of the gateway |\n"
    "|--|--:|--:|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True, slots=True)
class Report:
    """One whole run."""

    began: str
    """ISO 8601."""
    machine: str
    rounds: int
    seconds: float
    versions: Mapping[str, str]
    """Of the peers' packages."""
    absent: Mapping[str, str]
    """The peers that were not measured, and why."""
    ways: Sequence[str]
    levels: Sequence[Level]


def as_json(report: Report) -> str:
    """Return all of it."""
    return json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"


def as_markdown(report: Report) -> str:
    """Return the tables, one for each number of callers."""
    lines = [
        f"{report.began}, {report.machine}; medians of {report.rounds} rounds of {report.seconds:g} s, in turns.",
        ", ".join(f"{name} {version}" for name, version in report.versions.items()) + ".",
    ]
    for level in report.levels:
        callers = "1 caller" if level.callers == 1 else f"{level.callers:,} callers"
        lines += ["", f"{callers}; ten million additions took {level.additions_s:.2f} s:", "", _HEAD]
        lines += [_row(way, level.runs.get(way)) for way in report.ways]
    if report.absent:
        lines += ["", "Not measured:", "", *(f"* {name}: {reason}" for name, reason in report.absent.items())]
    return "\n".join(lines) + "\n"


def middle(runs: Sequence[Run]) -> Run:
    """Return the medians of the rounds, and the sums of their queries and errors."""
    return Run(
        sent=sum(run.sent for run in runs),
        per_s=statistics.median(run.per_s for run in runs),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
        errors=sum(run.errors for run in runs),
        cpu_us={name: statistics.median(run.cpu_us[name] for run in runs) for name in runs[0].cpu_us},
        rss_mb={name: statistics.median(run.rss_mb[name] for run in runs) for name in runs[0].rss_mb},
    )


def _row(way: str, runs: Sequence[Run] | None) -> str:
    return f"| {' | '.join([way, *_cells(runs)])} |"


def _cells(runs: Sequence[Run] | None) -> Iterator[str]:
    if runs is None:
        yield from ("–",) * 7
        return
    run = middle(runs)
    lowest, highest = min(one.per_s for one in runs), max(one.per_s for one in runs)
    yield f"{run.per_s:,.0f} ({lowest:,.0f}–{highest:,.0f})"
    yield f"{run.p50_ms:,.1f} ms"
    yield f"{run.p99_ms:,.1f} ms"
    yield str(run.errors)
    parts = {name: microseconds for name, microseconds in run.cpu_us.items() if name != SERVER}
    yield _sum_of(parts, "µs")
    yield f"{run.cpu_us[SERVER]:,.0f} µs"
    yield _sum_of({name: run.rss_mb[name] for name in parts}, "MB")


def _sum_of(parts: Mapping[str, float], unit: str) -> str:
    if not parts:
        return ""
    told = f"{sum(parts.values()):,.0f} {unit}"
    return told if len(parts) == 1 else f"{told} ({' + '.join(f'{amount:,.0f}' for amount in parts.values())})"
