"""Whether the new version of a server does worse than the old one, by what was counted of both. Pure.

It tells chance from change: what errs, or is slow, now and then under either version alike is let pass, however often
one looks. So beside the limits, the difference has to be one that equal versions would hardly ever show.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bus_schemas.latencies import bucket_ends_ms

MIN_EXCESS_ERRORS: Final = 3
"""Fewer errors above what is allowed never fail a step."""
MIN_SLOWER_MS: Final = 20.0
"""Of the 95th percentile; less never fails a step."""
_QUANTILE: Final = 0.95
_CHANCE: Final = 1e-4
"""How seldom equal versions may show it at any one look."""
_MIN_CALLS: Final = 5
"""Of fewer calls, several slow ones say nothing."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of one version in some time."""

    requests: int = 0
    errors: int = 0
    latencies: Mapping[int, int] = field(default_factory=dict)
    """Of the requests that are over, by bucket of `bus_schemas.latencies`."""
    in_flight: Mapping[int, int] = field(default_factory=dict)
    """Of those that are not, how long they have taken so far."""

    @property
    def error_rate(self) -> float:
        """Errors for each request; 0.0 without requests."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def calls(self) -> int:
        """Requests, over or not."""
        return sum(self.latencies.values()) + sum(self.in_flight.values())

    @property
    def p95_ms(self) -> float:
        """The time that 95 of 100 calls do not exceed, those in flight by their age; 0.0 without calls."""
        left = _QUANTILE * self.calls
        for bucket, count in sorted(_times(self).items()):
            if count >= left:
                lower, upper = bucket_ends_ms(bucket)
                return lower + (upper - lower) * left / count
            left -= count
        return 0.0

    def slower_than(self, limit_ms: float) -> float:
        """Return how many calls took longer, or have; within a bucket they are thought evenly spread."""
        slower = 0.0
        for bucket, count in _times(self).items():
            lower, upper = bucket_ends_ms(bucket)
            slower += count * min(1.0, max(0.0, (upper - limit_ms) / (upper - lower)))
        return slower


def chance(marked_new: int, new: int, marked_old: int, old: int) -> float:
    """Return how likely at least so many of the marked ones are among the new ones, if they were dealt out blindly.

    Args:
        marked_new: calls of the new version that failed, or were slow.
        new: all its calls, at least one.
        marked_old: calls of the old version that failed, or were slow.
        old: all its calls.

    Source:
        R. A. Fisher, "The Design of Experiments", 1935, chapter 2: the exact test.
    """
    marked = marked_new + marked_old
    ways = _log_ways(new + old, marked)
    deals = range(marked_new, min(marked, new) + 1)
    return sum(
        math.exp(_log_ways(new, dealt) + _log_ways(old, marked - dealt) - ways)
        for dealt in deals
        if marked - dealt <= old
    )


def _log_ways(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


def find_errors(new: Counts, old: Counts, max_error_rate: float) -> str | None:
    """Return why the new version fails for its errors, in words for an operator; None: it does not.

    `max_error_rate` is what its share of errors may be above the old version's.
    """
    allowed = new.requests * (old.error_rate + max_error_rate)
    if new.errors - allowed < MIN_EXCESS_ERRORS:
        return None
    if old.requests and chance(new.errors, new.requests, old.errors, old.requests) > _CHANCE:
        return None
    return (
        f"{new.errors} of {new.requests} requests failed ({new.error_rate:.1%}), "
        f"of the old version {old.errors} of {old.requests} ({old.error_rate:.1%})"
    )


def find_slowness(new: Counts, old: Counts, max_p95_ratio: float, *, is_early: bool) -> str | None:
    """Return why the new version fails for its times, in words for an operator; None: it does not.

    Args:
        new: what was counted of it.
        old: what was counted of the old version in the same time: a machine is not equally fast at all times.
        max_p95_ratio: how many times the old version's its 95th percentile may be.
        is_early: whether the step is not over. Then a hiccup may be most of what was seen of it, so most calls have to
            be slow.
    """
    if new.calls < _MIN_CALLS or not old.calls:
        return None
    limit_ms = max(old.p95_ms * max_p95_ratio, old.p95_ms + MIN_SLOWER_MS)
    if new.p95_ms <= limit_ms:
        return None
    slow_new, slow_old = round(new.slower_than(limit_ms)), round(old.slower_than(limit_ms))
    if is_early and 2 * slow_new <= new.calls:
        return None
    if chance(slow_new, new.calls, slow_old, old.calls) > _CHANCE:
        return None
    return f"95 % of calls take up to {new.p95_ms:.0f} ms, of the old version {old.p95_ms:.0f} ms"


def _times(counts: Counts) -> Counter[int]:
    return Counter(counts.latencies) + Counter(counts.in_flight)
