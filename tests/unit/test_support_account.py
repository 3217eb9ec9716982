"""The account tells the truth about any run: each test writes down runs whose fate is known, and compares."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.account import GRACE_S, Account, account, percentile, read_account
from tests.support.records import LedgerLine, RecordLine, Sent, Told, encode_line

DEADLINE_S = 5.0
_NOW = 1_700_000_000.0
_IN_TIME_S = st.floats(0, DEADLINE_S, width=16)
_IN_GRACE_S = st.floats(DEADLINE_S + 0.125, DEADLINE_S + GRACE_S - 0.125, width=16)
_TOO_LATE_S = st.floats(DEADLINE_S + GRACE_S + 0.125, 60, width=16)

Run = tuple[list[LedgerLine], list[RecordLine]]


def _start(id_: str, at_s: float = 0.0, pid: int = 1) -> LedgerLine:
    return LedgerLine(id_, "start", pid, _NOW + at_s)


def _sent(id_: str, at_s: float = 0.0) -> Sent:
    return Sent(id_, _NOW + at_s)


def _result(id_: str, at_s: float = 0.1, ms: float = 1.0, instance: str = "a") -> Told:
    return Told(id_, _NOW + at_s, 200, None, None, ms, instance)


def _problem(id_: str, at_s: float = 0.1, code: str = "overloaded", executed: str = "no") -> Told:
    return Told(id_, _NOW + at_s, 503, code, executed, 1.0)


def _account(*lines: LedgerLine | RecordLine) -> Account:
    ledger = [line for line in lines if isinstance(line, LedgerLine)]
    return account(ledger, [line for line in lines if not isinstance(line, LedgerLine)], DEADLINE_S)


def test_an_answered_query_counts_for_its_instance_and_its_process() -> None:
    it = _account(_sent("q"), _start("q", pid=7), _result("q", instance="w1"))
    assert (it.sent, it.answered, it.refused, it.lost) == (1, 1, {}, ())
    assert (it.by_instance, it.by_pid) == ({"w1": 1}, {7: 1})


def test_a_query_told_nothing_is_lost() -> None:
    assert _account(_sent("q"), _start("q")).lost == ("q",)


def test_a_result_of_a_call_that_never_started_is_a_lost_query() -> None:
    it = _account(_sent("q"), _result("q"))
    assert (it.answered, it.lost) == (0, ("q",))


def test_an_answer_within_the_grace_is_late_and_not_lost() -> None:
    it = _account(_sent("q"), _start("q"), _result("q", DEADLINE_S + 0.25))
    assert (it.answered, it.late, it.lost) == (1, ("q",), ())


def test_an_answer_beyond_the_grace_is_late_and_lost() -> None:
    it = _account(_sent("q"), _start("q"), _problem("q", DEADLINE_S + 1, executed="maybe"))
    assert (it.refused, it.late, it.lost) == ({}, ("q",), ("q",))


def test_two_starts_of_one_query_are_a_repetition_also_in_different_processes() -> None:
    it = _account(_sent("q"), _start("q", pid=1), _start("q", pid=2), _result("q"))
    assert (it.repeated, it.by_pid, it.answered) == (("q",), {1: 1, 2: 1}, 1)


def test_a_call_that_ran_although_the_caller_was_told_no_is_named() -> None:
    assert _account(_sent("q"), _start("q"), _problem("q", executed="no")).ran_after_no == ("q",)
    assert _account(_sent("q"), _start("q"), _problem("q", executed="maybe")).ran_after_no == ()
    assert _account(_sent("q"), _problem("q", executed="no")).ran_after_no == ()


def test_a_call_that_starts_after_its_deadline_is_named_also_if_it_is_the_second() -> None:
    assert _account(_sent("q"), _start("q", DEADLINE_S + 1)).started_after_deadline == ("q",)
    assert _account(_sent("q"), _start("q", 1), _start("q", DEADLINE_S + 1)).started_after_deadline == ("q",)
    assert _account(_sent("q"), _start("q", DEADLINE_S + GRACE_S / 2)).started_after_deadline == ()


def test_calls_of_other_drivers_in_the_ledger_do_not_count() -> None:
    it = _account(_start("theirs"), _start("theirs"), _sent("q"), _start("q"), _result("q"))
    assert (it.repeated, it.by_pid) == ((), {1: 1})


def test_the_longest_gap_is_between_answers_and_counts_the_time_before_the_first() -> None:
    asked = [_sent(str(at_s)) for at_s in (2.0, 2.5, 4.0)]
    starts = [_start(line.id) for line in asked]
    answers = [_result(line.id, float(line.id)) for line in asked]
    assert _account(*asked, *starts, *answers).longest_gap_s == 2.0


def test_the_longest_gap_counts_the_time_in_which_all_were_refused() -> None:
    it = _account(_sent("a"), _start("a"), _result("a", 0.5), _sent("b", 1), _problem("b", 4.5))
    assert it.longest_gap_s == 4.0


def test_nothing_sent_is_an_account_of_zeros() -> None:
    assert account([], [], DEADLINE_S) == Account(0, 0, {}, (), (), (), (), (), {}, {}, 0.0, 0.0, 0.0)


def test_percentiles_are_of_the_answered_queries_only() -> None:
    lines = [line for n in range(100) for line in (_sent(str(n)), _start(str(n)), _result(str(n), ms=n + 1))]
    it = _account(*lines, _sent("slow"), Told("slow", _NOW + 1, 504, "timeout", "maybe", 9000))
    assert (it.p50_ms, it.p99_ms) == (50, 99)


@given(st.lists(st.floats(0, 1000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_not_exceeded_by_its_share_of_the_values(values: list[float], percent: int) -> None:
    values.sort()
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


@pytest.mark.parametrize(
    "record", [[_result("q")], [_sent("q"), _sent("q")], [_sent("q"), _result("q"), _problem("q")]], ids=len
)
def test_a_record_that_contradicts_itself_is_refused(record: list[RecordLine]) -> None:
    with pytest.raises(ValueError, match="q"):
        account([], record, DEADLINE_S)


@st.composite
def _fates(draw: st.DrawFn) -> dict[str, tuple[str, Run]]:
    """Runs of several queries: for each id what became of it, by construction, and the lines that it left."""
    kinds = draw(st.lists(st.sampled_from(["answered", "refused", "silent", "phantom", "too_late"]), max_size=30))
    return {f"q{n}": (kind, _lines(draw, f"q{n}", kind)) for n, kind in enumerate(kinds)}


def _lines(draw: st.DrawFn, id_: str, kind: str) -> Run:
    starts = [_start(id_, pid=draw(st.integers(1, 3))) for _ in range(draw(st.integers(0, 3)))]
    heard_s = draw(st.one_of(_IN_TIME_S, _IN_GRACE_S))
    match kind:
        case "answered":
            return starts or [_start(id_)], [_sent(id_), _result(id_, heard_s)]
        case "refused":
            return starts, [_sent(id_), _problem(id_, heard_s, executed=draw(st.sampled_from(["no", "maybe"])))]
        case "phantom":
            return [], [_sent(id_), _result(id_, heard_s)]
        case "too_late":
            return starts, [_sent(id_), _result(id_, draw(_TOO_LATE_S))]
        case _:
            return starts, [_sent(id_)]


@given(_fates(), st.randoms())
def test_every_query_is_answered_refused_or_lost_whatever_the_order_of_the_lines(
    fates: dict[str, tuple[str, Run]], chance: random.Random
) -> None:
    ledger = [line for _, (lines, _) in fates.values() for line in lines]
    record = [line for _, (_, lines) in fates.values() for line in lines]
    chance.shuffle(ledger)
    chance.shuffle(record)
    it = account(ledger, record, DEADLINE_S)
    kinds = Counter(kind for kind, _ in fates.values())
    assert it.sent == len(fates)
    assert it.answered == kinds["answered"]
    assert sum(it.refused.values()) == kinds["refused"]
    assert set(it.lost) == {id_ for id_, (kind, _) in fates.items() if kind in {"silent", "phantom", "too_late"}}
    assert len(it.lost) == len(set(it.lost))
    assert it.answered + sum(it.refused.values()) + len(it.lost) == it.sent
    starts = Counter(line.id for line in ledger)
    assert set(it.repeated) == {id_ for id_, times in starts.items() if times > 1}
    assert sum(it.by_pid.values()) == starts.total()
    assert set(it.ran_after_no) == {
        line.id for line in record if isinstance(line, Told) and line.executed == "no" and starts[line.id]
    }


def test_files_are_read_up_to_their_last_whole_line(tmp_path: Path) -> None:
    ledger, record = tmp_path / "ledger", tmp_path / "record"
    ledger.write_bytes(encode_line(_start("q")) + b"\n" + encode_line(LedgerLine("q", "end", 1, _NOW)) + b"\n")
    record.write_bytes(encode_line(_sent("q")) + b"\n" + encode_line(_result("q")) + b'\n{"event":"sent","id":"half')
    it = read_account(ledger, record, DEADLINE_S)
    assert (it.sent, it.answered) == (1, 1)


def test_files_that_nobody_has_written_are_an_empty_run(tmp_path: Path) -> None:
    assert read_account(tmp_path / "ledger", tmp_path / "record", DEADLINE_S).sent == 0


def test_a_malformed_line_is_not_passed_over(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.write_text('{"id": "q"}\n')
    with pytest.raises(ValueError, match="event"):
        read_account(ledger, tmp_path / "record", DEADLINE_S)
