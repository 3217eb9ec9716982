"""Small plots, drawn here: no script and no style is needed to see them. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 240
HEIGHT: Final = 56
LOOKS: Final = 4
"""So many lines can be told apart, by dashes as well as by colours."""
_NICE: Final = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One version's course."""

    look: int
    """From 0 to `LOOKS` - 1."""
    pieces: tuple[str, ...]
    """Points as SVG takes them; a gap where nothing was counted."""


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn, and the same in words."""

    title: str
    words: str
    top: str
    """What the upper edge stands for."""
    lines: tuple[Line, ...]


def draw(title: str, unit: str, courses: Mapping[str, Sequence[float | None]], *, points: int) -> Plot:
    """Return a plot.

    Args:
        title: of what, in words.
        unit: stands behind numbers.
        courses: by version, the oldest value first; None where there is none.
        points: how many values fill the width; shorter courses end at the right edge.
    """
    highest = max((value for course in courses.values() for value in course if value is not None), default=0.0)
    top = _nice(highest)
    lines = tuple(Line(at % LOOKS, tuple(_pieces(course, top, points))) for at, course in enumerate(courses.values()))
    now = (f"version {version} {_last(course, unit)}" for version, course in courses.items())
    return Plot(title, f"Now {'; '.join(now)}.", f"{top:g}{unit}", lines)


def _pieces(course: Sequence[float | None], top: float, points: int) -> Iterator[str]:
    piece: list[str] = []
    first = points - len(course)
    for at, value in enumerate(course, start=first):
        if value is not None:
            x, y = WIDTH * at / max(1, points - 1), HEIGHT * (1 - min(1.0, value / top))
            piece.append(f"{x:.1f},{y:.1f}")
        if piece and (value is None or at == points - 1):
            yield " ".join(piece if len(piece) > 1 else piece * 2)
            piece = []


def _nice(highest: float) -> float:
    """The next 1, 2 or 5 with zeros, so that the scale does not jump about."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in _NICE if step * power >= highest or step == _NICE[-1])


def _last(course: Sequence[float | None], unit: str) -> str:
    return "without calls" if not course or course[-1] is None else f"{course[-1]:.3g}{unit}"
