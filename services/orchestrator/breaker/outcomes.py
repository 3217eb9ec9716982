"""What the outcome of a call says of the server. Pure."""

from enum import Enum, auto
from typing import Final

from services.orchestrator.dispatch import UnheardError, WorkerFailedError
from services.runtime.errors import (
    DeadlineExceededError,
    QueryError,
    ResultTooLargeError,
    UpstreamError,
    UpstreamRefusedError,
)

FAIR_SHARE: Final = 0.9
"""A call that is given this share of what its server may take was given enough."""


class Verdict(Enum):
    """What an outcome counts as."""

    SUCCESS = auto()
    FAILURE = auto()
    IGNORED = auto()


def judge(error: QueryError, *, left_s: float, timeout_s: float, is_probe_failing: bool) -> Verdict:
    """Return what a failed call counts as; one that has a result is a success, also if that says `isError`.

    Args:
        error: what the caller is told in place of a result.
        left_s: how long the caller would still wait when the call was sent, in seconds.
        timeout_s: what the server may take, in seconds.
        is_probe_failing: whether the worker that had the call says that its server does not answer it either.
    """
    match error:
        case WorkerFailedError() | UnheardError():
            return Verdict.IGNORED
        case UpstreamError():
            return Verdict.FAILURE
        case DeadlineExceededError():
            had_time = left_s >= FAIR_SHARE * timeout_s
            return Verdict.FAILURE if had_time or is_probe_failing else Verdict.IGNORED
        case UpstreamRefusedError() | ResultTooLargeError():
            return Verdict.SUCCESS
        case _:
            return Verdict.IGNORED
