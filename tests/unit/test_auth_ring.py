"""The keys in force: found by their text, followed when the file changes, nobody let in when it is gone."""

import hashlib
import json
import logging
from pathlib import Path

import pytest

from services.runtime.auth.keys import add_key, revoke_key
from services.runtime.auth.ring import KeyRing
from tests.support.clock import Clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def line(text: str, key_id: str = "a", **fields: object) -> str:
    return json.dumps({"id": key_id, "sha256": hashlib.sha256(text.encode()).hexdigest(), **fields}) + "\n"


def found(ring: KeyRing, text: str) -> str | None:
    principal = ring.find(text)
    return principal.id if principal else None


def test_a_key_stands_for_its_principal_with_its_rights(path: Path) -> None:
    text = add_key(path, "a", scopes=["admin"], servers=["s*"], tools=["t"], rate_per_s=2, max_in_flight=3)
    add_key(path, "b")
    principal = KeyRing(path).find(text)
    assert principal is not None
    assert (principal.id, principal.scopes) == ("a", frozenset({"admin"}))
    assert (principal.rate_per_s, principal.max_in_flight) == (2, 3)
    assert principal.may_use("s1", "t")
    assert not principal.may_use("s1", "u")


def test_a_text_that_is_no_key_finds_nobody(path: Path) -> None:
    text = add_key(path, "a")
    ring = KeyRing(path)
    for wrong in ("", text[:-1], text + "x", text.swapcase(), "x" * 100_000, "é", "\udcff"):
        assert ring.find(wrong) is None


def test_a_key_with_the_same_beginning_of_its_hash_is_not_the_key(path: Path) -> None:
    sha256 = hashlib.sha256(b"secret").hexdigest()
    path.write_text(json.dumps({"id": "a", "sha256": sha256[:16] + "0" * 48}) + "\n")
    assert KeyRing(path).find("secret") is None


def test_an_added_and_a_revoked_key_are_in_force_within_a_second(path: Path, clock: Clock) -> None:
    first = add_key(path, "a")
    ring = KeyRing(path, monotonic=clock)
    second = add_key(path, "b")
    revoke_key(path, "a")
    clock.now += 1
    assert (found(ring, first), found(ring, second)) == (None, "b")


def test_the_file_is_looked_at_once_a_second_at_most(path: Path, clock: Clock) -> None:
    path.write_text(line("old"))
    ring = KeyRing(path, monotonic=clock)
    path.write_text(line("new", "longer"))
    clock.now += 0.9
    assert (found(ring, "old"), found(ring, "new")) == ("a", None)
    clock.now += 0.1
    assert (found(ring, "old"), found(ring, "new")) == (None, "longer")


def test_a_key_expires_at_its_moment(path: Path) -> None:
    path.write_text(line("secret", expires="1970-01-01T00:20:00Z"))
    wall = Clock()
    ring = KeyRing(path, wall=wall)
    wall.now = 1199.9
    assert found(ring, "secret") == "a"
    wall.now = 1200.0
    assert found(ring, "secret") is None


def test_a_file_that_was_never_there_lets_nobody_in_until_it_comes(path: Path, clock: Clock) -> None:
    ring = KeyRing(path, monotonic=clock)
    assert ring.find("secret") is None
    path.write_text(line("secret"))
    clock.now += 1
    assert found(ring, "secret") == "a"


@pytest.mark.parametrize("damage", ["deleted", "writable by everyone", "a folder"])
def test_a_file_that_cannot_be_trusted_lets_nobody_in_within_five_seconds(
    path: Path, clock: Clock, damage: str
) -> None:
    path.write_text(line("secret"))
    ring = KeyRing(path, monotonic=clock)
    if damage == "writable by everyone":
        path.chmod(0o666)
    else:
        path.unlink()
    if damage == "a folder":
        path.mkdir()
    outcomes = []
    for _ in range(5):
        clock.now += 1
        outcomes.append(found(ring, "secret"))
    assert outcomes[0] == "a"  # a moment without the file, as some editors leave it, locks nobody out
    assert outcomes[-1] is None


def test_after_a_quiet_hour_a_deleted_file_lets_nobody_in_at_once(path: Path, clock: Clock) -> None:
    path.write_text(line("secret"))
    ring = KeyRing(path, monotonic=clock)
    path.unlink()
    clock.now += 3600
    assert ring.find("secret") is None


def test_a_file_that_comes_back_is_read_again_even_if_unchanged(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "keys.jsonl").write_text(line("secret"))
    ring = KeyRing(folder / "keys.jsonl", monotonic=clock)
    folder.rename(tmp_path / "away")
    clock.now += 10
    assert ring.find("secret") is None
    (tmp_path / "away").rename(folder)
    clock.now += 1
    assert found(ring, "secret") == "a"


@pytest.mark.parametrize(
    "broken",
    [
        "not json hunter2",
        '{"id": "x"}',
        '{"id": "bus", "sha256": "%s"}' % ("1" * 64),
        '{"id": "x", "sha256": "hunter2"}',
        '{"id": "x", "sha256": "%s", "server": ["only-this"]}' % ("1" * 64),
        '{"id": "x", "sha256": "%s", "scopes": ["root"]}' % ("1" * 64),
        '{"id": "x", "sha256": "%s", "expires": "hunter2"}' % ("1" * 64),
        "\xff\x00",
    ],
)
def test_a_broken_line_is_skipped_and_told_by_its_number_alone(
    path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(line("one", "a").encode() + broken.encode("latin-1") + b"\n" + line("three", "c").encode())
    ring = KeyRing(path)
    assert (found(ring, "one"), found(ring, "three")) == ("a", "c")
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [vars(record)["line"] for record in errors] == [2]
    assert "hunter2" not in " ".join(str(vars(record)) for record in caplog.records)


def test_of_a_key_that_stands_twice_the_first_line_holds(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(line("secret", "a") + line("secret", "b", scopes=["admin"]))
    assert found(KeyRing(path), "secret") == "a"
    assert [vars(record)["line"] for record in caplog.records if record.levelno == logging.ERROR] == [2]


def test_no_log_line_holds_a_key_or_its_hash(path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = add_key(path, "a")
    ring = KeyRing(path, monotonic=clock)
    ring.find(text)
    path.unlink()
    clock.now += 10
    ring.find(text)
    told = " ".join(str(vars(record)) for record in caplog.records)
    assert caplog.records
    assert text not in told
    assert hashlib.sha256(text.encode()).hexdigest() not in told
