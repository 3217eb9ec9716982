"""Short names for what must be told apart and not be shown: who has a session where, whose state is sought."""

import hashlib


def caller_digest(principal: str) -> str:
    """Return by what a caller is known in workers' reports: 64 bits of a SHA-256, in hex."""
    return hashlib.sha256(principal.encode()).hexdigest()[:16]


def state_digest(request_state: str) -> str:
    """Return by what a `requestState`, which may be large, is sought: its SHA-256, in hex."""
    return hashlib.sha256(request_state.encode()).hexdigest()
