"""The figures of rows, as Markdown."""

from tests.chaos.running import Report

HEADER = (
    "| fault | sent | answered | refused | lost | run twice | longest gap | served again after |\n"
    "|---|--:|--:|---|--:|--:|--:|--:|"
)


def row(report: Report) -> str:
    """Return the row, with what the fault itself has measured behind its name."""
    found, total = report.found, report.found.total
    refused = ", ".join(f"{code} {number:,}" for code, number in sorted(total.refused.items())) or "0"
    facts = "; ".join(f"{name} {value:{',.0f' if value >= 100 else '.3g'}}" for name, value in report.figures.items())
    what = f"{report.fault.what} ({facts})" if facts else report.fault.what
    return (
        f"| {what} | {total.sent:,} | {total.answered:,} | {refused} | {len(total.lost)} "
        f"| {len(found.undeclared.repeated)} | {found.longest_gap_s:.2f} s | {found.recovery_s:.2f} s |"
    )
