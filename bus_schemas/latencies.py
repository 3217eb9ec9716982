"""How long calls took, as counts in buckets that are the same in every process, so that they can be added up."""

import math
from typing import Final

PER_DOUBLING: Final = 4
"""So many buckets from a time to twice that time: what is read off them is wrong by 9 % at most."""
LAST_BUCKET: Final = 76
"""Ends at nearly nine minutes; whatever is longer, which nothing is, counts as that."""


def latency_bucket(duration_s: float) -> int:
    """Return the bucket that counts `duration_s`: 0 to LAST_BUCKET. The first one ends at a millisecond."""
    if duration_s <= 0.001:
        return 0
    return min(LAST_BUCKET, math.ceil(PER_DOUBLING * math.log2(duration_s * 1000)))


def bucket_ends_ms(bucket: int) -> tuple[float, float]:
    """Return between which times a bucket counts, in milliseconds; the upper one belongs to it."""
    upper = 2 ** (bucket / PER_DOUBLING)
    return (0.0 if bucket == 0 else 2 ** ((bucket - 1) / PER_DOUBLING)), upper
