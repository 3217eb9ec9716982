"""Runs one SELECT statement of a stranger: it cannot write, and it has limits of time, rows and bytes."""

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, Field

from examples.database_mcp.connections import open_read_only

Value = str | int | float | None

# A client's reader may stop at 1 MiB for one event, and the rows travel twice: as text and as data.
_RESULT_BYTES = 256 * 1024
# Of SQLite's virtual machine. One step can be a function over a megabyte of text, so not too many.
_STEPS_BETWEEN_CHECKS = 1_000

_ALLOWED_ACTIONS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_REFUSED_FUNCTIONS = {"load_extension", "fts3_tokenizer"}  # both hand out or take machine code

# SCHEMA is what a refused CREATE TEMP ends in.
_FORBIDDEN = {sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_SCHEMA}
# SQLite's own words for these name what is wrong with the statement, and nothing of the file.
_ABOUT_THE_STATEMENT = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG}
_ONLY_SELECT = "Only one SELECT statement is allowed; this tool cannot change anything."


class QueryResult(BaseModel):
    """The rows of a query."""

    columns: list[str] = Field(description="Names of the columns.")
    rows: list[list[Value]] = Field(description="The rows, each with one value for each column; blobs are hexadecimal.")
    row_count: int = Field(description="Number of rows returned.")
    truncated: bool = Field(description="Whether there are more rows than the limits let through.")


class SqlError(Exception):
    """The statement was refused, failed, or went over a limit; the text is for the one who wrote it."""


def run_query(
    database: Path, sql: str, *, max_rows: int, time_limit_s: float, abandoned: threading.Event
) -> QueryResult:
    """Run a SELECT and return at most `max_rows` rows of together at most 256 KiB of JSON.

    Setting `abandoned` from another thread stops it within moments.

    Raises:
        SqlError: it is not one SELECT, is wrong, or went over a limit.
    """
    ends_at = time.monotonic() + time_limit_s
    with closing(open_read_only(database)) as connection:
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: abandoned.is_set() or time.monotonic() > ends_at, _STEPS_BETWEEN_CHECKS)
        try:
            cursor = connection.execute(sql)
            if cursor.description is None:
                raise SqlError(_ONLY_SELECT)
            columns = [column[0] for column in cursor.description]
            rows, truncated = _take(cursor, max_rows)
        except (sqlite3.Error, MemoryError, UnicodeError) as error:
            raise SqlError(_explain(error, time_limit_s)) from error
    return QueryResult(columns=columns, rows=rows, row_count=len(rows), truncated=truncated)


def _authorize(action: int, _first: str | None, name: str | None, _database: str | None, _trigger: str | None) -> int:
    if action not in _ALLOWED_ACTIONS:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and name is not None and name.lower() in _REFUSED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _take(cursor: Iterable[tuple[Value | bytes, ...]], max_rows: int) -> tuple[list[list[Value]], bool]:
    rows: list[list[Value]] = []
    room = _RESULT_BYTES
    for found in cursor:
        row = [_json_value(value) for value in found]
        room -= len(json.dumps(row))
        if len(rows) == max_rows or room < 0:
            return rows, True
        rows.append(row)
    return rows, False


def _json_value(value: Value | bytes) -> Value:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    return value


def _explain(error: Exception, time_limit_s: float) -> str:
    # The low byte is the kind of error, the rest a finer distinction; None: the sqlite3 module refused by itself.
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF
    if kind == sqlite3.SQLITE_INTERRUPT:
        return f"The query ran longer than {time_limit_s:g} s and was stopped."
    if kind in _FORBIDDEN:
        return _ONLY_SELECT
    if isinstance(error, MemoryError):
        return "The query needs too much memory."
    if kind in _ABOUT_THE_STATEMENT or (kind is None and isinstance(error, sqlite3.Error)):
        return f"SQLite: {str(error).rstrip('.')}."
    return "The query could not be run."
