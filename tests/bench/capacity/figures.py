"""What a row found: figures, each with the bound that it is held against, as Markdown and as JSON."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a row."""

    what: str
    value: float
    unit: str = ""
    least: float | None = None
    """What the issue asks for at least; None: nothing."""
    below: float | None = None
    """What it must stay below."""
    most: float | None = None
    """What it may be at most."""

    @property
    def holds(self) -> bool:
        """Whether it keeps its bounds; one without any does."""
        return (
            (self.least is None or self.value >= self.least)
            and (self.below is None or self.value < self.below)
            and (self.most is None or self.value <= self.most)
        )

    @property
    def goal(self) -> str:
        """Its bounds in words."""
        bounds = (("≥", self.least), ("<", self.below), ("≤", self.most))
        return ", ".join(f"{sign} {bound:,g}" for sign, bound in bounds if bound is not None)

    def __str__(self) -> str:
        mark = "" if not self.goal else "yes" if self.holds else "**no**"
        return f"| {self.what} | {_number(self.value)} {self.unit} | {self.goal} | {mark} |"


HEAD = "| | figure | goal | holds |\n|---|--:|--:|---|"


def as_json(row: str, figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """Return the figures of a row for a file that a program reads."""
    return [{"row": row, **asdict(figure), "holds": figure.holds} for figure in figures]


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"
