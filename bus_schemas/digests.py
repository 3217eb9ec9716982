"""Short names for what must be told apart: who has a session where, whose state is sought, how a tool is defined."""

import hashlib
import json
from typing import Any


def caller_digest(principal: str) -> str:
    """Return by what a caller is known in workers' reports: 64 bits of a SHA-256, in hex."""
    return hashlib.sha256(principal.encode()).hexdigest()[:16]


def state_digest(request_state: str) -> str:
    """Return by what a `requestState`, which may be large, is sought: its SHA-256, in hex."""
    return hashlib.sha256(request_state.encode()).hexdigest()


def definition_digest(definition: dict[str, Any]) -> str:
    """Return by what a definition is told from another: the SHA-256 of its sorted JSON, in hex."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
