"""The database file is made whole or not at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from examples.database_mcp import storage
from examples.database_mcp.sales import write_sales
from examples.database_mcp.storage import StorageError, default_database, ensure_database
from tests.examples.processes import ROOT, START_TIMEOUT_S, client_of, command

pytestmark = pytest.mark.anyio


def orders(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        count: int = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
        return count


def test_two_databases_have_the_same_bytes(tmp_path: Path) -> None:
    ensure_database(tmp_path / "one.db")
    ensure_database(tmp_path / "two.db")
    assert (tmp_path / "one.db").read_bytes() == (tmp_path / "two.db").read_bytes()


def test_a_database_that_is_there_is_kept(database: Path) -> None:
    before = database.stat().st_ino
    ensure_database(database)
    assert database.stat().st_ino == before


def test_a_database_of_an_older_layout_is_made_anew(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM orders")
    monkeypatch.setattr(storage, "_LAYOUT", storage._LAYOUT + 1)
    ensure_database(database)
    assert orders(database) == 4_000


@pytest.mark.parametrize("content", [b"", b"my diary, which is long enough to look like a file" * 10])
def test_a_file_of_someone_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    theirs = tmp_path / "theirs.db"
    theirs.write_bytes(content)
    with pytest.raises(StorageError, match=r"theirs\.db"):
        ensure_database(theirs)
    assert theirs.read_bytes() == content


def test_a_database_that_could_not_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(storage, "write_sales", fail)
    with pytest.raises(StorageError, match="disk full"):
        ensure_database(tmp_path / "sales.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_in_its_place_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "sales.db"
    seen_early = []

    def look(connection: sqlite3.Connection) -> None:
        write_sales(connection)
        seen_early.append(database.exists())

    monkeypatch.setattr(storage, "write_sales", look)
    ensure_database(database)
    assert seen_early == [False]
    assert orders(database) == 4_000


def test_the_default_file_is_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_database() == tmp_path / "busbar" / "sales.db"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_database() == tmp_path / "home" / ".cache" / "busbar" / "sales.db"


async def test_servers_that_start_together_all_work_and_leave_one_good_database(tmp_path: Path) -> None:
    database = tmp_path / "cache" / "sales.db"
    counts = []

    async def start() -> None:
        async with client_of("stdio", "database_mcp", "--database", str(database)) as client:
            result = await client.call_tool("query", {"sql": "SELECT count(*) FROM orders"})
            counts.append(result.structured_content["rows"])

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(start)
    assert counts == [[[4_000]]] * 4
    assert list(database.parent.iterdir()) == [database]
    assert orders(database) == 4_000


async def test_a_database_that_cannot_be_made_is_one_line_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with anyio.fail_after(START_TIMEOUT_S):
        done = await anyio.run_process(
            command("database_mcp", "--database", str(tmp_path / "file" / "sales.db")), cwd=ROOT, check=False
        )
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"database_mcp: cannot make the database")
    assert done.stderr.count(b"\n") == 1
