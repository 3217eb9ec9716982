"""The chain of the audit log: whatever is changed, taken out or torn off shows, and a torn line ends nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.audit_chain import NOTHING, ChainEnd, Verdict, chained, find_end, verify

texts = st.text(st.characters(codec="utf-8"), max_size=12)
entries = st.lists(st.fixed_dictionaries({"who": st.none() | texts, "action": texts}), min_size=1, max_size=8)


def appended(log: bytes, entry: dict[str, object]) -> bytes:
    end = find_end(log, is_whole_log=True)
    assert end is not None
    return log + chained(entry, end)


def written(*entries: dict[str, object]) -> bytes:
    log = b""
    for entry in entries:
        log = appended(log, entry)
    return log


def checked(log: bytes) -> Verdict:
    return verify(log.splitlines(keepends=True))


@given(entries)
def test_what_was_written_is_whole(entries: list[dict[str, object]]) -> None:
    log = written(*entries)
    assert checked(log) == Verdict(len(entries), broken_at=None, is_end_torn=False)
    assert [json.loads(line)["who"] for line in log.splitlines()] == [entry["who"] for entry in entries]


def test_the_first_line_follows_nothing_and_each_other_the_one_before() -> None:
    first, second = (json.loads(line) for line in written({"n": 1}, {"n": 2}).splitlines())
    assert first["previous"] == NOTHING
    assert second["previous"] not in (NOTHING, first["previous"])
    assert "torn" not in first


@given(entries, st.data())
def test_a_line_that_is_changed_or_taken_out_shows(entries: list[dict[str, object]], data: st.DataObject) -> None:
    lines = written({"first": 1}, *entries, {"last": 1}).splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 2))
    changed = json.dumps({**json.loads(lines[at]), "who": "somebody else entirely"}).encode() + b"\n"

    assert checked(b"".join([*lines[:at], changed, *lines[at + 1 :]])).broken_at == at + 2
    assert checked(b"".join([*lines[:at], *lines[at + 1 :]])).broken_at == at + 1
    assert checked(b"".join([*lines[:at], b"gone\n", *lines[at + 1 :]])).broken_at == at + 2
    assert checked(b"".join([*lines[:at], b"put in\n", *lines[at:]])).broken_at == at + 2


@given(entries, st.lists(st.integers(1, 10_000), min_size=1, max_size=3))
def test_the_chain_goes_on_after_lines_that_a_crash_tore_off(entries: list[dict[str, object]], cuts: list[int]) -> None:
    log = written(*entries)
    for cut in cuts:
        whole = appended(log, {"who": "torn", "action": "x" * 20})
        addition = whole[len(log) :]
        log += addition[: cut % len(addition)]
    mended = appended(log, {"who": "after"})

    assert mended.startswith(log)
    verdict = checked(mended)
    assert (verdict.broken_at, verdict.is_end_torn) == (None, False)
    assert verdict.whole >= len(entries) + 1


def test_a_torn_line_is_kept_and_its_digest_is_in_the_next() -> None:
    log = written({"n": 1}) + b'{"previous": "ab'
    assert checked(log) == Verdict(1, broken_at=None, is_end_torn=True)

    mended = appended(log, {"n": 2})
    assert b'{"previous": "ab\n' in mended
    assert checked(mended) == Verdict(2, broken_at=None, is_end_torn=False)
    assert checked(mended.replace(b'"ab\n', b'"cd\n')).broken_at == 3
    assert checked(mended.replace(b'{"previous": "ab\n', b"")).broken_at == 2


def test_a_whole_line_that_only_lacks_its_end_counts() -> None:
    mended = appended(written({"n": 1}, {"n": 2}).removesuffix(b"\n"), {"n": 3})
    assert checked(mended) == Verdict(3, broken_at=None, is_end_torn=False)
    assert "torn" not in json.loads(mended.splitlines()[-1])


@pytest.mark.parametrize("size", [1, 20, 200])
def test_the_end_is_not_guessed_from_the_rest_of_a_line(size: int) -> None:
    log = written({"n": 1}, {"text": "x" * 300})
    assert find_end(log[-size:], is_whole_log=False) is None


def test_the_end_of_a_long_log_is_found_in_its_last_bytes() -> None:
    log = written({"n": 1}, {"n": 2}, {"n": 3})
    whole = find_end(log, is_whole_log=True)
    assert find_end(log[-len(log) // 2 :], is_whole_log=False) == whole
    assert whole is not None
    assert whole.torn == b""


def test_an_empty_log_ends_with_nothing() -> None:
    assert find_end(b"", is_whole_log=True) == ChainEnd()
    assert checked(b"") == Verdict(0, broken_at=None, is_end_torn=False)
