"""The decisions of keeping a session open: when to try again, when to withdraw, when to start afresh."""

from dataclasses import dataclass
from enum import Enum, auto

from bus_schemas.workers import ServerFault


@dataclass(frozen=True, slots=True)
class KeepingPolicy:
    """The numbers of the decisions below, in seconds."""

    first_restart_s: float = 0.2
    longest_restart_s: float = 15.0
    retry_url_s: float = 0.5
    silent_start_s: float = 10.0
    stable_after_s: float = 10.0
    probe_every_s: float = 2.0
    probe_withdrawn_every_s: float = 0.5
    probe_apart_s: float = 0.2
    probe_timeout_s: float = 5.0
    relist_every_s: float = 60.0
    silence_limit_s: float = 60.0


class Verdict(Enum):
    """What a failed probe means for the session."""

    SERVE = auto()
    WITHDRAW = auto()
    REPLACE = auto()


def restart_delay_s(failures: int, *, owns_process: bool, policy: KeepingPolicy) -> float:
    """Return the wait before the next attempt, in seconds.

    A process of ours is started again at once the first time, then ever more slowly, so that a crash loop
    costs little. A server at a URL is somebody else's to start; asking is cheap.

    Args:
        failures: sessions in a row, counted from 1, that failed to open or were lost before they were stable.
        owns_process: whether opening a session starts a process.
        policy: the numbers.
    """
    return backoff_s(failures, policy) if owns_process else policy.retry_url_s


def backoff_s(failures: int, policy: KeepingPolicy) -> float:
    """Return the wait after so many failures in a row, in seconds: none at first, then ever longer, to a limit."""
    if failures <= 1:
        return 0.0
    # The exponent is held down because 2 ** 5000 is no float.
    return min(policy.first_restart_s * 2.0 ** min(failures - 2, 16), policy.longest_restart_s)


def relist_delay_s(in_vain: int, policy: KeepingPolicy) -> float:
    """Return the wait between the word that lists have changed and reading them, in seconds.

    Long enough that a burst is one reading. Some servers say that their lists have changed whenever they are listed:
    the more readings in a row were `in_vain`, finding what was known, the longer it gets.
    """
    return min(policy.probe_apart_s * 2.0 ** min(in_vain, 16), policy.longest_restart_s)


def failures_after(failures: int, *, up_s: float, policy: KeepingPolicy) -> int:
    """Return the failures in a row after a session that was up for `up_s` seconds has been lost."""
    return 1 if up_s >= policy.stable_after_s else failures + 1


def judge_failed_probe(
    fault: ServerFault, *, is_busy: bool, silent_s: float, owns_process: bool, policy: KeepingPolicy
) -> Verdict:
    """Return what to do about a probe that failed.

    Args:
        fault: what the probe ran into.
        is_busy: a call in flight still has its deadline, and none has run out of its time since the server was last
            heard: a single-threaded server answers nothing else meanwhile.
        silent_s: since the server last said anything, in seconds.
        owns_process: whether the server is a process of ours, which can be started afresh.
        policy: the numbers.
    """
    is_unanswered = fault in {ServerFault.NOT_RESPONDING, ServerFault.CONNECTION_TIMEOUT}
    if is_busy:
        # Replacing the session would cut the calls that are still running.
        return Verdict.SERVE if is_unanswered else Verdict.WITHDRAW
    if owns_process:
        return Verdict.REPLACE if silent_s >= policy.silence_limit_s else Verdict.WITHDRAW
    # Another release, or another era, may be listening when it is back: open anew.
    return Verdict.WITHDRAW if is_unanswered else Verdict.REPLACE
