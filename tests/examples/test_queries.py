"""A stranger's SQL can read and nothing else, within limits."""

import hashlib
import threading
from contextlib import chdir, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.database_mcp.queries import QueryResult, SqlError, run_query
from examples.database_mcp.sales import ORDER_COUNT
from examples.database_mcp.storage import ensure_database
from examples.database_mcp.tables import TableNotFoundError, describe_table, list_tables

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
WRITES = [
    "INSERT INTO customers VALUES (9999, 'x', 'x', 'x', 'x')",
    "REPLACE INTO products VALUES (1, 'x', 'x', 0)",
    "UPDATE orders SET total_amount = 0",
    "DELETE FROM orders",
    "WITH x AS (SELECT 1) INSERT INTO products SELECT 99, 'x', 'x', 0 FROM x",
    "WITH x AS (SELECT 1) DELETE FROM orders",
    "UPDATE orders SET quantity = 9 RETURNING order_id",
    "DROP TABLE orders",
    "ALTER TABLE orders ADD COLUMN x",
    "CREATE TABLE x (a)",
    "CREATE TEMP TABLE x (a)",
    "CREATE TABLE x AS SELECT * FROM orders",
    "CREATE VIEW x AS SELECT 1",
    "CREATE VIRTUAL TABLE x USING fts5(a)",
    "CREATE TRIGGER x AFTER INSERT ON orders BEGIN SELECT 1; END",
    "CREATE INDEX x ON orders (status)",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "ATTACH 'other.db' AS other",
    "DETACH main",
    "BEGIN IMMEDIATE",
    "SAVEPOINT x",
    "COMMIT",
    "PRAGMA writable_schema = ON",
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = WAL",
    "PRAGMA user_version = 7",
    "SELECT * FROM pragma_journal_mode('WAL')",
    "SELECT 1; DROP TABLE orders",
    "SELECT 1; PRAGMA query_only = OFF; DELETE FROM orders",
    "EXPLAIN DELETE FROM orders",
    "SELECT load_extension('evil.so')",
    "SELECT LOAD_EXTENSION('evil.so', 'main')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT writefile('evil', 'x')",
    "",
    "-- nothing",
]


def query(database: Path, sql: str, *, max_rows: int = 100, time_limit_s: float = 5) -> QueryResult:
    return run_query(database, sql, max_rows=max_rows, time_limit_s=time_limit_s, abandoned=threading.Event())


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("sql", WRITES)
def test_a_statement_that_is_not_one_select_is_refused_and_changes_no_file(
    database: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(database.parent)
    before = digests(database.parent)
    with pytest.raises(SqlError) as refusal:
        query(database, sql)
    assert digests(database.parent) == before
    assert str(database.parent) not in str(refusal.value)


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all examples of a property test, which only reads."""
    path = tmp_path_factory.mktemp("shared") / "sales.db"
    ensure_database(path)
    return path


# Pieces that statements which write are made of, one a line.
STATEMENT_PARTS = [
    "",
    "SELECT",
    "INSERT INTO",
    "REPLACE INTO",
    "UPDATE",
    "DELETE FROM",
    "WITH x AS (SELECT 1)",
    "EXPLAIN",
    "PRAGMA",
    "DROP TABLE",
    "CREATE TABLE",
    "ATTACH 'x' AS",
    "VACUUM INTO 'x'",
    "orders",
    "products",
    "SET",
    "quantity = 9",
    "query_only = OFF",
    "FROM",
    "VALUES (1, 2, 3, 4)",
    "RETURNING",
    "*",
    "1",
    ";",
    "--",
    "/*",
    "*/",
    "(",
    ")",
]


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from(STATEMENT_PARTS), max_size=10) | st.lists(st.text(max_size=20), max_size=5))
def test_no_mixture_of_sql_changes_the_database(shared_database: Path, parts: list[str]) -> None:
    before = digests(shared_database.parent)
    with chdir(shared_database.parent), suppress(SqlError):
        query(shared_database, " ".join(parts), time_limit_s=1)
    assert digests(shared_database.parent) == before


def test_a_select_returns_columns_and_rows(database: Path) -> None:
    result = query(database, "SELECT product_id, name FROM products WHERE product_id <= 2 ORDER BY product_id")
    assert result.columns == ["product_id", "name"]
    assert result.rows == [[1, "Magic Wand Pro"], [2, "Magic Wand Mini"]]
    assert (result.row_count, result.truncated) == (2, False)


def test_a_select_that_starts_with_a_common_table_expression_is_a_select(database: Path) -> None:
    result = query(database, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n")
    assert result.rows == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("literal", "shown"),
    [
        ("NULL", None),
        ("9223372036854775807", 2**63 - 1),
        ("0.5", 0.5),
        ("9e999", "inf"),
        ("x'00ff'", "00ff"),
        ("CAST(x'ff41' AS TEXT)", "\ufffdA"),
        ("'é'", "é"),
    ],
)
def test_every_sqlite_value_has_a_json_form(database: Path, literal: str, shown: object) -> None:
    assert query(database, f"SELECT {literal}").rows == [[shown]]


def test_an_endless_query_is_stopped_at_the_time_limit(database: Path) -> None:
    with pytest.raises(SqlError, match=r"longer than 0\.2 s"):
        query(database, ENDLESS, time_limit_s=0.2)


def test_an_abandoned_query_stops(database: Path) -> None:
    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(SqlError):
        run_query(database, ENDLESS, max_rows=1, time_limit_s=60, abandoned=abandoned)


def test_more_rows_than_asked_for_are_cut_off_and_said_to_be(database: Path) -> None:
    result = query(database, "SELECT * FROM orders", max_rows=10)
    assert (len(result.rows), result.row_count, result.truncated) == (10, 10, True)


def test_exactly_as_many_rows_as_asked_for_are_not_called_truncated(database: Path) -> None:
    result = query(database, "SELECT * FROM products", max_rows=24)
    assert (result.row_count, result.truncated) == (24, False)


def test_rows_beyond_the_byte_limit_are_cut_off(database: Path) -> None:
    result = query(database, "SELECT hex(zeroblob(50000)) FROM orders", max_rows=1000)
    assert result.truncated
    assert len(result.model_dump_json()) < 300_000


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT colour FROM orders", "no such column: colour"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELEC 1", "syntax error"),
        ("SELECT zeroblob(999999999)", "too big"),
        ("SELECT b FROM (SELECT zeroblob(900000) AS b FROM orders) ORDER BY random()", "too much memory"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT ?", "bindings"),
        ("SELECT '\ud800'", "could not be run"),
    ],
)
def test_a_wrong_query_is_explained(database: Path, sql: str, message: str) -> None:
    with pytest.raises(SqlError, match=message):
        query(database, sql)


def test_tables_are_listed_with_their_sizes(database: Path) -> None:
    assert {table.name: table.row_count for table in list_tables(database).tables} == {
        "customers": 400,
        "orders": ORDER_COUNT,
        "products": 24,
    }


def test_a_table_is_described_whatever_the_case_of_its_name(database: Path) -> None:
    description = describe_table(database, "Orders")
    columns = {column.name: column for column in description.columns}
    assert description.name == "orders"
    assert columns["order_id"].primary_key
    assert columns["product_id"].references == "products.product_id"


def test_an_unknown_table_is_answered_with_the_known_ones(database: Path) -> None:
    with pytest.raises(TableNotFoundError, match="customers, orders, products"):
        describe_table(database, "x'; DROP TABLE orders")
