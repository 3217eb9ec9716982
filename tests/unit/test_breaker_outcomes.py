"""Which outcome of a call speaks against its server: every row of SPEC §9, "Breaker failures"."""

import pytest

from services.orchestrator.breaker.outcomes import Verdict, judge
from services.orchestrator.dispatch import NobodyThereError, UnheardError, WorkerFailedError
from services.runtime.errors import (
    CircuitOpenError,
    DeadlineExceededError,
    DeadlinePassedError,
    InternalError,
    NoWorkerError,
    OverloadedError,
    PayloadTooLargeError,
    QueryError,
    RateLimitedError,
    ResultTooLargeError,
    UpstreamError,
    UpstreamRefusedError,
)


def verdict(
    error: QueryError, *, left_s: float = 30.0, timeout_s: float = 30.0, is_probe_failing: bool = False
) -> Verdict:
    return judge(error, left_s=left_s, timeout_s=timeout_s, is_probe_failing=is_probe_failing)


def test_a_server_that_died_or_broke_the_protocol_has_failed() -> None:
    assert verdict(UpstreamError()) is Verdict.FAILURE
    assert verdict(UpstreamError(), left_s=0.01) is Verdict.FAILURE


def test_a_server_whose_worker_failed_has_not() -> None:
    assert verdict(WorkerFailedError()) is Verdict.IGNORED
    assert verdict(WorkerFailedError(), is_probe_failing=True) is Verdict.IGNORED


@pytest.mark.parametrize(
    ("left_s", "timeout_s", "expected"),
    [
        (30.0, 30.0, Verdict.FAILURE),
        (300.0, 30.0, Verdict.FAILURE),
        (27.0, 30.0, Verdict.FAILURE),
        (26.999, 30.0, Verdict.IGNORED),
        (1.0, 30.0, Verdict.IGNORED),
        (0.9, 1.0, Verdict.FAILURE),
        (0.89, 1.0, Verdict.IGNORED),
    ],
)
def test_a_timeout_speaks_against_a_server_that_was_given_nine_tenths_of_what_it_may_take(
    left_s: float, timeout_s: float, expected: Verdict
) -> None:
    assert verdict(DeadlineExceededError(), left_s=left_s, timeout_s=timeout_s) is expected


def test_any_timeout_speaks_against_a_server_that_does_not_answer_its_workers_probe() -> None:
    assert verdict(DeadlineExceededError(), left_s=0.1, is_probe_failing=True) is Verdict.FAILURE


def test_a_timeout_in_which_no_worker_was_heard_does_not() -> None:
    assert verdict(UnheardError()) is Verdict.IGNORED
    assert verdict(UnheardError(), is_probe_failing=True) is Verdict.IGNORED


@pytest.mark.parametrize("error", [UpstreamRefusedError(mcp_error=b"{}"), ResultTooLargeError()])
def test_every_answer_speaks_for_a_server_whatever_it_says(error: QueryError) -> None:
    assert verdict(error) is Verdict.SUCCESS


@pytest.mark.parametrize(
    "error",
    [
        OverloadedError(),
        NoWorkerError(),
        NobodyThereError(),
        DeadlinePassedError(),
        CircuitOpenError(),
        PayloadTooLargeError(),
        RateLimitedError(),
        InternalError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_never_reached_it_or_is_our_own_fault_says_nothing_of_a_server(error: QueryError) -> None:
    assert verdict(error) is Verdict.IGNORED
    assert verdict(error, is_probe_failing=True) is Verdict.IGNORED
