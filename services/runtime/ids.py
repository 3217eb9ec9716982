"""Ids of queries: ULIDs, so that they sort by time in logs."""

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]


def new_id() -> str:
    """Return a new ULID: 48 bits of milliseconds since 1970, 80 random bits, 26 characters of Crockford's base 32.

    Source: github.com/ulid/spec.
    """
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join([_PAIRS[value >> shift & 0x3FF] for shift in range(120, -1, -10)])
