"""`busbar keys`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.cli.main import main
from services.runtime.auth.keys import list_keys
from services.runtime.auth.ring import KeyRing

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def keys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys.jsonl"
    monkeypatch.setenv("BUSBAR_KEYS_FILE", str(path))
    return path


def test_an_added_key_is_printed_alone_and_works(keys_file: Path, capsys: Capture) -> None:
    assert main(["keys", "add", "reports"]) == 0
    text = capsys.readouterr().out.removesuffix("\n")
    principal = KeyRing(keys_file).find(text)
    assert principal is not None
    assert principal.id == "reports"
    assert principal.scopes == {"query"}
    assert principal.may_use("any_server", "any_tool")


def test_every_right_and_limit_reaches_the_file(keys_file: Path) -> None:
    options = ["--scope=query", "--scope=admin", "--server=a", "--server=b*", "--tool=list_*", "--rate=2.5"]
    assert main(["keys", "add", "reports", *options, "--max-in-flight=7", "--expires=2999-12-31"]) == 0
    (key,) = list_keys(keys_file)
    assert key.scopes == ("query", "admin")
    assert key.servers == ("a", "b*")
    assert key.tools == ("list_*",)
    assert (key.rate_per_s, key.max_in_flight) == (2.5, 7)
    assert key.expires == datetime(2999, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(("text", "length"), [("30d", 30 * 24), ("12h", 12), ("90m", 1.5)])
def test_a_key_may_expire_after_a_length_of_time(keys_file: Path, text: str, length: float) -> None:
    before = datetime.now(UTC)
    assert main(["keys", "add", "reports", "--expires", text]) == 0
    (key,) = list_keys(keys_file)
    assert key.expires is not None
    assert before <= key.expires - timedelta(hours=length) <= datetime.now(UTC)


@pytest.mark.parametrize("text", ["tomorrow", "2001-01-01", "999999999d", "999999d999", "-5d"])
def test_a_moment_that_cannot_be_is_wrong_usage(keys_file: Path, text: str, capsys: Capture) -> None:
    assert main(["keys", "add", "reports", "--expires", text]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not keys_file.exists()


def test_the_list_tells_the_rights_and_nothing_of_the_keys(keys_file: Path, capsys: Capture) -> None:
    assert main(["keys", "add", "reports", "--server", "a", "--rate", "5"]) == 0
    text = capsys.readouterr().out.strip()
    (key,) = list_keys(keys_file)
    for options in ([], ["--json"]):
        assert main(["keys", "list", *options]) == 0
        shown = capsys.readouterr().out
        assert "reports" in shown
        assert text not in shown
        assert key.sha256 not in shown
    assert json.loads(shown)["keys"][0]["rate_per_s"] == 5


def test_the_list_marks_what_has_expired(keys_file: Path, capsys: Capture) -> None:
    keys_file.write_text(json.dumps({"id": "old", "sha256": "0" * 64, "expires": "2001-01-01T00:00:00Z"}) + "\n")
    assert main(["keys", "list"]) == 0
    assert "2001-01-01T00:00Z (expired)" in capsys.readouterr().out


def test_a_revoked_key_is_gone(keys_file: Path, capsys: Capture) -> None:
    assert main(["keys", "add", "reports", "--json"]) == 0
    text = json.loads(capsys.readouterr().out)["key"]
    assert main(["keys", "revoke", "reports"]) == 0
    assert KeyRing(keys_file).find(text) is None


@pytest.mark.parametrize(
    "arguments",
    [["revoke", "nobody"], ["add", "taken"], ["add", "white space"], ["add", "new", "--rate", "-1"]],
)
def test_what_cannot_be_done_is_one_line_with_status_1(keys_file: Path, arguments: list[str], capsys: Capture) -> None:
    main(["keys", "add", "taken"])
    before = keys_file.read_bytes()
    capsys.readouterr()
    assert main(["keys", *arguments]) == 1
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert keys_file.read_bytes() == before


def test_a_file_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    monkeypatch.delenv("BUSBAR_KEYS_FILE", raising=False)
    assert main(["keys", "list"]) == 2
    assert "--keys-file" in capsys.readouterr().err
    assert main(["keys", "list", "--keys-file", str(tmp_path / "none")]) == 1
