"""`busbar audit verify`: what it says of a log that is whole, cut off, or was tampered with."""

import json
from pathlib import Path

import anyio
import pytest

from services.admin.audit import DONE, Attempt, Audit
from services.cli.main import main


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of three attempts, in a state folder."""
    path = tmp_path / "audit.jsonl"

    async def write() -> None:
        audit = Audit(path, "one")
        for number in range(3):
            await audit.write(Attempt(str(number), "boss", "clear_cache", {}), DONE)

    anyio.run(write)
    return path


def test_a_whole_log_holds(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", str(log)]) == 0
    assert capsys.readouterr().out == f"{log}: the chain holds, 3 lines\n"


@pytest.mark.parametrize("removed", [0, 1])
def test_a_line_that_was_taken_out_shows(log: Path, removed: int, capsys: pytest.CaptureFixture[str]) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:removed], *lines[removed + 1 :]]))
    assert main(["audit", "verify", "--state-dir", str(log.parent)]) == 1
    assert f"broken at line {removed + 1}" in capsys.readouterr().err


def test_a_line_that_was_changed_shows(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(log.read_bytes().replace(b"boss", b"fool", 1))
    monkeypatch.setenv("BUSBAR_AUDIT_FILE", str(log))
    assert main(["audit", "verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False, "lines": 1, "broken_at": 2, "is_end_torn": False}


def test_an_end_that_a_crash_cut_off_is_told_and_is_no_tampering(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(log.read_bytes()[:-5])
    assert main(["audit", "verify", str(log)]) == 0
    assert "2 lines and a part of one" in capsys.readouterr().out


def test_a_log_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.endswith("none: cannot be read: No such file or directory\n")
