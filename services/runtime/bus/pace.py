"""When what is published is written: at once, unless there is so much of it that waiting for more is worth it."""

from collections import deque
from typing import Final

_LATEST: Final = 4
_SPAN_S: Final = 0.003
"""So many messages in so short a time are many: 1,333 a second."""
_WAIT_S: Final = 0.002


class WritePace:
    """Of one connection.

    Each write wakes the server, and the server's write whoever is at the other end: at two thousand messages a second
    that costs them more than the messages do. Source: docs/load-testing.md, "What a query costs".
    """

    def __init__(self) -> None:
        """Nothing was published yet."""
        self._latest = deque([float("-inf")] * _LATEST, maxlen=_LATEST)

    def wait_s(self, now: float) -> float:
        """Count a message that is published `now`, and return how long it may wait for others; both in seconds."""
        are_many = now - self._latest[0] < _SPAN_S
        self._latest.append(now)
        return _WAIT_S if are_many else 0.0
