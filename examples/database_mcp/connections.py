"""Opens the database so that nothing can be written and no statement takes more than its share."""

import sqlite3
from pathlib import Path

_HEAP_LIMIT_BYTES = 256 * 1024 * 1024  # of the whole process: SQLite has no limit for one connection

_LIMITS = {
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
}


def open_read_only(database: Path) -> sqlite3.Connection:
    """Open the file for reading, for use in one thread; the caller closes it.

    Raises:
        sqlite3.OperationalError: the file is gone.

    Source:
        "Defense Against The Dark Arts", https://www.sqlite.org/security.html.
    """
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")  # a large sort may not fill the disk either
    connection.execute(f"PRAGMA hard_heap_limit = {_HEAP_LIMIT_BYTES}")
    # A query can make text that is not UTF-8; it is shown as well as it can be.
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection
