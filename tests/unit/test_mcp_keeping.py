"""When a session is tried again, withdrawn, replaced."""

import pytest

from bus_schemas.workers import ServerFault
from services.worker.mcp.keeping import KeepingPolicy, Verdict, failures_after, judge_failed_probe, restart_delay_s

POLICY = KeepingPolicy()
UNANSWERED = [ServerFault.NOT_RESPONDING, ServerFault.CONNECTION_TIMEOUT]
REFUSED = [ServerFault.CONNECTION_REFUSED, ServerFault.PROTOCOL_ERROR]


def test_a_process_is_restarted_at_once_and_then_ever_more_slowly() -> None:
    delays = [restart_delay_s(failures, owns_process=True, policy=POLICY) for failures in range(1, 11)]
    assert delays == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15, 15]


def test_a_crash_loop_of_days_has_a_delay_too() -> None:
    assert restart_delay_s(10**6, owns_process=True, policy=POLICY) == 15


def test_a_server_at_a_url_is_tried_every_half_second() -> None:
    assert {restart_delay_s(failures, owns_process=False, policy=POLICY) for failures in range(1, 50)} == {0.5}


def test_a_session_that_was_stable_is_forgiven_its_past() -> None:
    assert failures_after(7, up_s=POLICY.stable_after_s, policy=POLICY) == 1
    assert failures_after(7, up_s=POLICY.stable_after_s - 0.1, policy=POLICY) == 8


def judge(fault: ServerFault, *, is_busy: bool = False, silent_s: float = 1, owns_process: bool = True) -> Verdict:
    return judge_failed_probe(fault, is_busy=is_busy, silent_s=silent_s, owns_process=owns_process, policy=POLICY)


@pytest.mark.parametrize("owns_process", [False, True])
@pytest.mark.parametrize("fault", UNANSWERED)
def test_a_busy_server_that_does_not_answer_the_probe_serves_on(fault: ServerFault, *, owns_process: bool) -> None:
    assert judge(fault, is_busy=True, silent_s=999, owns_process=owns_process) is Verdict.SERVE


@pytest.mark.parametrize("fault", REFUSED)
def test_a_busy_server_that_refuses_is_withdrawn_but_its_calls_are_not_cut(fault: ServerFault) -> None:
    assert judge(fault, is_busy=True, silent_s=999) is Verdict.WITHDRAW
    assert judge(fault, is_busy=True, owns_process=False) is Verdict.WITHDRAW


@pytest.mark.parametrize("fault", UNANSWERED + REFUSED)
def test_a_silent_process_is_withdrawn_and_replaced_after_a_minute(fault: ServerFault) -> None:
    assert judge(fault, silent_s=59.9) is Verdict.WITHDRAW
    assert judge(fault, silent_s=60) is Verdict.REPLACE


@pytest.mark.parametrize("fault", UNANSWERED)
def test_a_silent_server_at_a_url_is_withdrawn_however_long(fault: ServerFault) -> None:
    assert judge(fault, silent_s=9999, owns_process=False) is Verdict.WITHDRAW


@pytest.mark.parametrize("fault", REFUSED)
def test_a_url_that_refuses_is_opened_anew(fault: ServerFault) -> None:
    assert judge(fault, owns_process=False) is Verdict.REPLACE
