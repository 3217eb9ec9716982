"""The audit log as a file: one chain whoever writes, readable for us alone, and told when it cannot be written."""

import asyncio
import fcntl
import json
import os
import stat
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.admin import audit as audit_module
from services.admin.audit import ATTEMPTED, DONE, Attempt, Audit, AuditUnwritableError
from services.runtime.audit_chain import Verdict, verify
from tests.support.processes import running

pytestmark = pytest.mark.anyio

ATTEMPT = Attempt(id="01K0", who="boss", action="clear_cache", target={"server": "files", "tool": "read"})
_WRITER = """
import anyio, sys
from pathlib import Path
from services.admin.audit import DONE, Attempt, Audit
async def write():
    audit = Audit(Path(sys.argv[1]), sys.argv[2])
    for number in range(40):
        await audit.write(Attempt(str(number), None, "clear_cache", {}), DONE)
anyio.run(write)
"""


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def verdict(path: Path) -> Verdict:
    with path.open("rb") as lines:
        return verify(lines)


async def test_a_line_says_who_tried_what_when_and_what_became_of_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    audit = Audit(path, "q7x2")
    await audit.write(ATTEMPT, ATTEMPTED)
    await audit.write(ATTEMPT, DONE)

    first, second = entries(path)
    told = {name: value for name, value in first.items() if name not in ("previous", "at")}
    assert told == {
        "id": "01K0",
        "who": "boss",
        "action": "clear_cache",
        "target": {"server": "files", "tool": "read"},
        "outcome": "attempted",
        "by": "q7x2",
    }
    assert (second["id"], second["outcome"]) == ("01K0", "done")
    assert datetime.fromisoformat(first["at"]).utcoffset() == timedelta(0)
    assert first["at"].endswith("Z")
    assert first["at"] <= second["at"]
    assert verdict(path) == Verdict(2, broken_at=None, is_end_torn=False)


async def test_only_we_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    await Audit(path, "a").write(ATTEMPT, DONE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_restart_continues_the_chain_also_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await Audit(path, "a").write(ATTEMPT, DONE)
    with path.open("ab") as log:
        log.write(b'{"previous": "0a1')
    await Audit(path, "b").write(ATTEMPT, DONE)

    assert b'{"previous": "0a1\n' in path.read_bytes()
    assert verdict(path) == Verdict(2, broken_at=None, is_end_torn=False)


async def test_a_long_torn_end_does_not_hide_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await Audit(path, "a").write(ATTEMPT, DONE)
    with path.open("ab") as log:
        log.write(b"x" * 300_000)
    await Audit(path, "b").write(ATTEMPT, DONE)
    assert verdict(path) == Verdict(2, broken_at=None, is_end_torn=False)


async def test_processes_and_tasks_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    command = [sys.executable, "-c", _WRITER, str(path)]
    audits = [Audit(path, "c"), Audit(path, "d")]
    async with running([*command, "a"]) as first, running([*command, "b"]) as second:
        await asyncio.gather(*(audits[number % 2].write(ATTEMPT, DONE) for number in range(40)))
        assert [await writer.wait(timeout_s=60) for writer in (first, second)] == [0, 0]
    assert verdict(path) == Verdict(120, broken_at=None, is_end_torn=False)
    assert {entry["by"] for entry in entries(path)} == {"a", "b", "c", "d"}


async def test_many_without_a_key_keep_nobody_waiting_who_has_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path, "a")
    stranger = Attempt(id="1", who=None, action="clear_cache", target={})
    crowd = [asyncio.create_task(audit.write(stranger, ATTEMPTED)) for _ in range(100)]
    await asyncio.sleep(0)  # all of them are in line
    await audit.write(ATTEMPT, ATTEMPTED)
    await asyncio.gather(*crowd)
    assert [entry["who"] for entry in entries(path)].index("boss") <= 2


async def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    audit = Audit(path, "a")
    await audit.write(ATTEMPT, DONE)
    path.rename(old)
    await audit.write(ATTEMPT, DONE)
    assert [verdict(each).whole for each in (old, path)] == [1, 1]


async def test_a_callers_words_are_kept_to_a_bounded_length_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    target = {"server": "x" * 100_000, "tool": 'a\n{"previous": "b"}\r\x1b[2J\u2028'}
    await Audit(path, "a").write(Attempt("1", None, "clear_cache", target), "unauthorized")
    (entry,) = entries(path)
    assert len(entry["target"]["server"]) == 2048
    assert entry["target"]["tool"] == target["tool"]
    assert path.read_bytes().isascii()
    assert verdict(path).whole == 1


async def test_a_full_disk_is_told() -> None:
    with pytest.raises(AuditUnwritableError):
        await Audit(Path("/dev/full"), "a").write(ATTEMPT, ATTEMPTED)


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuditUnwritableError):
        await Audit(tmp_path / "file" / "audit.jsonl", "a").write(ATTEMPT, ATTEMPTED)


async def test_a_large_file_that_is_no_audit_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"something else\n" * 400_000)
    with pytest.raises(AuditUnwritableError):
        await Audit(path, "a").write(ATTEMPT, ATTEMPTED)
    assert path.stat().st_size == 15 * 400_000


async def test_whoever_holds_the_file_for_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "_LOCK_TIMEOUT_S", 0.05)
    path = tmp_path / "audit.jsonl"
    path.touch()
    holder = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(AuditUnwritableError):
            await Audit(path, "a").write(ATTEMPT, ATTEMPTED)
        assert path.read_bytes() == b""
    finally:
        os.close(holder)
