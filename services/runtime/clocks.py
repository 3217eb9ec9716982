"""How long a message was on its way, although the sender's clock is not ours."""

import math
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
        self._smallest = self._smallest_before = math.inf
        self._window_began = 0.0
        self._longest_delay_s = 0.0
        self._longest_delay_before_s = 0.0

    @property
    def heard_at(self) -> float:
        """When the window began in which the last message came, by our clock; at most ten seconds before it."""
        return self._window_began

    @property
    def offset_s(self) -> float:
        """By how much our clock is before the sender's, and the fastest journey; 0 before the first message."""
        smallest = min(self._smallest_before, self._smallest)
        return 0.0 if smallest == math.inf else smallest

    @property
    def longest_delay_s(self) -> float:
        """Of the messages of the last ten to twenty seconds."""
        return max(self._longest_delay_s, self._longest_delay_before_s)

    def delay_s(self, sent_at: float, now: float) -> float:
        """Return how much longer than usual a message took.

        Args:
            sent_at: by the sender's clock, in seconds since 1970.
            now: by ours.
        """
        age = now - sent_at
        if now - self._window_began > _WINDOW_S:
            self._smallest_before, self._smallest = self._smallest, math.inf
            self._longest_delay_before_s, self._longest_delay_s = self._longest_delay_s, 0.0
            self._window_began = now
        # With nothing to compare with, an age within the allowance is taken for an offset of the clocks.
        smallest = min(self._smallest_before, self._smallest)
        delay_s = max(0.0, age - (_ALLOWANCE_S if smallest == math.inf else smallest))
        self._smallest = min(self._smallest, age)
        self._longest_delay_s = max(self._longest_delay_s, delay_s)
        return delay_s


class SenderClocks:
    """One clock for each sender; who was not heard for longest is forgotten when there are too many."""

    def __init__(self, now: Callable[[], float], most: int = 1024) -> None:
        self._now = now
        self._most = most
        self._clocks: dict[str, SenderClock] = {}

    @property
    def largest_offset_s(self) -> float:
        """How far the clock of a sender that was heard lately is from ours at worst, either way."""
        return max((abs(clock.offset_s) for clock in self._heard_lately()), default=0.0)

    @property
    def longest_delay_s(self) -> float:
        """How much longer than usual a message took at worst, lately."""
        return max((clock.longest_delay_s for clock in self._heard_lately()), default=0.0)

    def _heard_lately(self) -> list[SenderClock]:
        """Those that know anything of the present: others may have been stopped long ago."""
        oldest = self._now() - 2 * _WINDOW_S
        return [clock for clock in self._clocks.values() if clock.heard_at >= oldest]

    def delay_s(self, sender: str, sent_at: float) -> float:
        """Return how much longer than usual a message of `sender` took, in seconds."""
        clock = self._clocks.pop(sender, None)
        if clock is None:
            if len(self._clocks) >= self._most:
                del self._clocks[next(iter(self._clocks))]
            clock = SenderClock()
        self._clocks[sender] = clock
        return clock.delay_s(sent_at, self._now())


def sender_of(reply_to: str) -> str:
    """Return who sent a message, by the subject of its reply: one inbox, one clock.

    Clients number their requests below the inbox of their connection. An inbox of two tokens is for one request
    alone: what is before the dot is the same for everybody.
    """
    inbox = reply_to.rpartition(".")[0]
    return inbox if "." in inbox else reply_to
