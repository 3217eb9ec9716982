"""How long a message was on its way, although the sender's clock is not ours."""

from collections.abc import Callable

_ALLOWANCE_S = 30.0
"""How far apart two clocks may be before the first message shows it."""
_WINDOW_S = 10.0
"""For at most twice as long, a sender's clock that was set back makes its messages count as late."""


class SenderClock:
    """The offset of one sender's clock: the smallest age seen, over the last ten to twenty seconds.

    A message cannot arrive before it was sent, so that the smallest difference between our time of arrival and the
    sender's time of sending is the offset of the clocks plus the fastest journey. What is above it is delay.

    Source: the minimum filter of D. Mills, "Internet Time Synchronization", IEEE Trans. Comm. 39(10), 1991.
    """

    def __init__(self) -> None:
        self._smallest: float | None = None
        self._smallest_before: float | None = None
        self._window_began = 0.0

    def delay_s(self, sent_at: float, now: float) -> float:
        """Return how much longer than usual a message took.

        Args:
            sent_at: by the sender's clock, in seconds since 1970.
            now: by ours.
        """
        age = now - sent_at
        if now - self._window_began > _WINDOW_S:
            self._smallest_before, self._smallest = self._smallest, None
            self._window_began = now
        known = [smallest for smallest in (self._smallest_before, self._smallest) if smallest is not None]
        self._smallest = age if self._smallest is None else min(self._smallest, age)
        # With nothing to compare with, an age within the allowance is taken for an offset of the clocks.
        return max(0.0, age - min(known) if known else age - _ALLOWANCE_S)


class SenderClocks:
    """One clock for each sender; the oldest is forgotten when there are too many."""

    def __init__(self, now: Callable[[], float], most: int = 1024) -> None:
        self._now = now
        self._most = most
        self._clocks: dict[str, SenderClock] = {}

    def delay_s(self, sender: str, sent_at: float) -> float:
        """Return how much longer than usual a message of `sender` took, in seconds."""
        clock = self._clocks.get(sender)
        if clock is None:
            if len(self._clocks) >= self._most:
                del self._clocks[next(iter(self._clocks))]
            clock = self._clocks[sender] = SenderClock()
        return clock.delay_s(sent_at, self._now())
