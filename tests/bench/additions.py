"""How fast the machine is just now: a loop that only adds. Figures of different days can be compared by it."""

import time
from typing import Final

ADDITIONS: Final = 10_000_000


def additions_s() -> float:
    """Return how long `ADDITIONS` take now, in seconds of processor time."""
    began = time.process_time()
    total = 0
    for number in range(ADDITIONS):
        total += number
    return time.process_time() - began
