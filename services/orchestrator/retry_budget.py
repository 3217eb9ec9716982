"""How many calls may be sent again: a share of the latest ones, so that a failing fleet is not asked twice as often."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_SHARE: Final = 0.2
_FLOOR: Final = 10
"""As many may be sent again however few calls there are."""
_WINDOW_S: Final = 10


@dataclass(slots=True)
class _Second:
    number: int
    calls: int = 0
    repeats: int = 0


class RetryBudget:
    """Of the calls of the last ten seconds a fifth, and ten more, may be sent again; one budget for the whole process.

    Source: Finagle's `RetryBudget` (20 % over 10 s, and 10 a second) and Envoy's `retry_budget` (20 %).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: deque[_Second] = deque()

    def count_call(self) -> None:
        """Count a call that is sent for the first time."""
        self._now().calls += 1

    def take(self) -> bool:
        """Return whether one more call may be sent again; if so, it is counted."""
        now = self._now()
        calls = sum(second.calls for second in self._seconds)
        repeats = sum(second.repeats for second in self._seconds)
        if repeats + 1 > _FLOOR + _SHARE * calls:
            return False
        now.repeats += 1
        return True

    def _now(self) -> _Second:
        """Return the second that runs, and forget those that have left the window."""
        number = int(self._clock())
        while self._seconds and self._seconds[0].number <= number - _WINDOW_S:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]
