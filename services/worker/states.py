"""Which request states the server has given out of late: where their continuation has to come back to."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from bus_schemas.digests import state_digest
from services.runtime.outlines import decode_outline

KEPT_S: Final = 600.0
"""As long as the official SDK honours a state that it has given out."""
_MOST: Final = 10_000


class _MaybeUnfinished(msgspec.Struct, rename="camel"):
    result_type: str | None = None
    request_state: str | None = None


_decoder = msgspec.json.Decoder(_MaybeUnfinished)


class GivenStates:
    """The digests of the states in `input_required` results; the oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._given_at: dict[str, float] = {}

    def note(self, result: bytes) -> None:
        """Remember the state in a result, if it has one."""
        if b"input_required" not in result:  # nearly every result; reading a large one takes its time
            return
        try:
            unfinished = decode_outline(_decoder, result)
        except msgspec.DecodeError:
            return
        if unfinished.result_type != "input_required" or unfinished.request_state is None:
            return
        digest = state_digest(unfinished.request_state)
        self._given_at.pop(digest, None)
        self._given_at[digest] = self._clock()
        if len(self._given_at) > self._most:
            del self._given_at[next(iter(self._given_at))]

    def holds(self, digest: str) -> bool:
        """Whether a state with this digest was given out in the last ten minutes."""
        given_at = self._given_at.get(digest)
        return given_at is not None and self._clock() - given_at < KEPT_S
