"""The end of the audit log as the console shows it."""

from pathlib import Path

import pytest

from services.admin.audit import ATTEMPTED, DONE, Attempt, Audit
from services.admin.console.audit_tail import AuditTail
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


async def write(path: Path, *attempts: tuple[str, str]) -> None:
    audit = Audit(path, "one")
    for name, outcome in attempts:
        await audit.write(Attempt(name, "boss", "clear_cache", {"server": "files", "until": ""}), outcome)


async def test_attempts_are_shown_once_with_their_outcome_the_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await write(path, ("1", ATTEMPTED), ("2", ATTEMPTED), ("1", DONE), ("3", "unauthorized"), ("2", DONE))
    view = await AuditTail(path).look()
    assert [attempt.outcome for attempt in view.attempts] == ["done", "unauthorized", "done"]
    assert {attempt.target for attempt in view.attempts} == {"server: files"}
    assert (view.is_all_checked, view.verdict.whole, view.verdict.broken_at) == (True, 5, None)


async def test_a_line_that_is_taken_out_shows_and_one_that_was_is_found_when_all_is_checked_anew(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "audit.jsonl", Clock()
    await write(path, *((str(number), DONE) for number in range(5)))
    tail = AuditTail(path, clock)
    assert (await tail.look()).verdict.broken_at is None
    lines = path.read_bytes().splitlines(keepends=True)
    changed = lines[1].replace(b"boss", b"fool")
    path.write_bytes(b"".join([lines[0], changed, *lines[2:]]))
    assert (await tail.look()).verdict.broken_at is None, "what has been checked is not checked at each look"
    clock.now += 301
    assert (await tail.look()).verdict.broken_at == 3
    path.write_bytes(b"".join(lines[1:]))
    assert (await tail.look()).verdict.broken_at == 1, "a file that has shrunk is looked at anew"


async def test_it_follows_a_log_that_grows_and_one_that_was_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    tail = AuditTail(path)
    assert (await tail.look()).attempts == ()
    await write(path, ("1", DONE))
    assert (await tail.look()).verdict.whole == 1
    await write(path, ("2", DONE))
    assert (await tail.look()).verdict.whole == 2
    path.rename(tmp_path / "old.jsonl")
    await write(path, ("3", DONE))
    view = await tail.look()
    assert (view.verdict.whole, [attempt.outcome for attempt in view.attempts]) == (1, ["done"])


async def test_a_log_that_cannot_be_read_says_so_and_garbage_is_no_attempt(tmp_path: Path) -> None:
    assert (await AuditTail(tmp_path).look()).is_readable is False
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"garbage\n[1]\n{\n")
    view = await AuditTail(path).look()
    assert (view.attempts, view.is_readable, view.verdict.is_end_torn) == ((), True, True)
