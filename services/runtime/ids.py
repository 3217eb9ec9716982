"""Ids of queries: ULIDs, so that they sort by time in logs."""

import os
import time
from functools import lru_cache

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHIFTS = (70, 60, 50, 40, 30, 20, 10, 0)
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]


def new_id() -> str:
    """Return a new ULID: 48 bits of milliseconds since 1970, 80 random bits, 26 characters of Crockford's base 32.

    Source: github.com/ulid/spec.
    """
    value = int.from_bytes(os.urandom(10), "big")
    chance = "".join([_PAIRS[value >> shift & 0x3FF] for shift in _SHIFTS])
    return _written(time.time_ns() // 1_000_000) + chance


@lru_cache(maxsize=1)
def _written(milliseconds: int) -> str:
    """Return the ten characters of a moment; many ids have the same."""
    return "".join([_PAIRS[milliseconds >> shift & 0x3FF] for shift in (40, 30, 20, 10, 0)])
