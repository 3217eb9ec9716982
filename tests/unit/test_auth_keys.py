"""The keys file: what is written, kept and refused."""

import fcntl
import hashlib
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.runtime.auth import keys
from services.runtime.auth.keys import KeysFileError, add_key, list_keys, revoke_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def test_a_key_is_told_once_and_only_its_hash_is_kept(path: Path) -> None:
    text = add_key(path, "team-a", scopes=["query", "admin"], servers=["database_*"], rate_per_s=5)
    assert text.startswith("bb_team-a_")
    assert len(text.removeprefix("bb_team-a_")) == 43
    assert text.removeprefix("bb_team-a_") not in path.read_text()
    assert json.loads(path.read_text()) == {
        "id": "team-a",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "scopes": ["query", "admin"],
        "servers": ["database_*"],
        "tools": ["*"],
        "rate_per_s": 5.0,
    }


def test_no_two_keys_are_alike(path: Path) -> None:
    assert len({add_key(path) for _ in range(20)}) == 20
    assert len({key.id for key in list_keys(path)}) == 20


def test_the_file_is_its_owners_alone(path: Path) -> None:
    add_key(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    add_key(path, "b")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_change_by_root_leaves_the_file_to_its_owner(path: Path) -> None:
    add_key(path, "a")
    os.chown(path, 12345, 12345)
    revoke_key(path, "a")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12345)


def test_a_revoked_key_is_gone_and_the_others_stay(path: Path) -> None:
    for key_id in ("a", "b", "c"):
        add_key(path, key_id, expires=datetime(2030, 1, 1, tzinfo=UTC))
    before = list_keys(path)
    revoke_key(path, "b")
    assert list_keys(path) == [before[0], before[2]]
    with pytest.raises(KeysFileError, match="no key with that id"):
        revoke_key(path, "b")


def test_lines_that_are_not_understood_survive_a_change(path: Path) -> None:
    path.write_text('{"id": "newer", "not": "known"}\n\n# a remark\n')
    add_key(path, "a")
    revoke_key(path, "a")
    assert path.read_text() == '{"id": "newer", "not": "known"}\n# a remark\n'


@pytest.mark.parametrize("key_id", ["anonymous", "bus", "a b", "a\nb", "-a", "a" * 65])
def test_an_id_that_could_be_taken_for_another_is_refused(path: Path, key_id: str) -> None:
    with pytest.raises(KeysFileError, match="not valid: id"):
        add_key(path, key_id)
    assert not path.exists()


def test_an_id_is_used_once(path: Path) -> None:
    add_key(path, "a")
    with pytest.raises(KeysFileError, match="already"):
        add_key(path, "a")
    assert len(list_keys(path)) == 1


def test_limits_that_make_no_sense_are_refused(path: Path) -> None:
    with pytest.raises(KeysFileError, match="not valid: max_in_flight, rate_per_s"):
        add_key(path, rate_per_s=0, max_in_flight=0)


def test_a_change_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_key(path, "a")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeysFileError, match="cannot be written: No space left on device"):
        add_key(path, "b")
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["keys.jsonl", "keys.jsonl.lock"]


def test_of_a_symbolic_link_the_file_behind_it_is_changed(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    add_key(link, "a")
    assert link.is_symlink()
    assert [key.id for key in list_keys(path)] == ["a"]


def test_two_writers_lose_no_key(path: Path) -> None:
    threads = [threading.Thread(target=add_key, args=(path, f"k{number}")) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {key.id for key in list_keys(path)} == {f"k{number}" for number in range(16)}


def test_a_writer_does_not_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOCK_WAIT_S", 0.05)
    with path.with_name("keys.jsonl.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(KeysFileError, match="somebody else is changing it"):
            add_key(path, "a")


def test_a_file_that_everyone_may_write_is_refused(path: Path) -> None:
    add_key(path, "a")
    path.chmod(0o602)
    with pytest.raises(KeysFileError, match="not everyone may write"):
        list_keys(path)
    with pytest.raises(KeysFileError):
        add_key(path, "b")


def test_a_file_that_is_not_there_has_no_list(path: Path) -> None:
    with pytest.raises(KeysFileError, match="cannot be read: No such file"):
        list_keys(path)


def test_a_moment_without_a_zone_is_in_utc(path: Path) -> None:
    path.write_text(json.dumps({"id": "a", "sha256": "0" * 64, "expires": "2030-01-01T00:00:00"}))
    assert list_keys(path)[0].expires == datetime(2030, 1, 1, tzinfo=UTC)
