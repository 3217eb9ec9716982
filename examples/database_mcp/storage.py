"""Where the database file is, and how it is made: whole or not at all, whoever starts at the same time."""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from examples.database_mcp.sales import write_sales

_APPLICATION_ID = 0x42_42_53_4C  # "BBSL": tells our file from anyone else's
_LAYOUT = 1  # raised whenever sales.py writes something else, so that older files are made anew


class StorageError(Exception):
    """The database can neither be used nor made; the text is for the person who started the server."""


def default_database() -> Path:
    """Return the file in the user's cache folder (XDG base directories: a relative one is ignored)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "busbar" / "sales.db"


def ensure_database(database: Path) -> None:
    """Make the database unless a file of the current layout is there.

    Raises:
        StorageError: the file is not ours to replace, or the folder cannot be written.
    """
    try:
        if not _is_current(database):
            _make(database)
    except OSError as error:
        raise StorageError(f"cannot make the database {database}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StorageError(f"cannot use {database}: {error}") from error


def _is_current(database: Path) -> bool:
    if not database.exists():
        return False
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != _APPLICATION_ID:
        raise StorageError(f"{database} is not a database of this server, so it is left alone")
    return bool(layout == _LAYOUT)


def _make(database: Path) -> None:
    database.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{database.name}-", dir=database.parent)
    os.close(descriptor)
    unfinished = Path(name)
    try:
        with closing(sqlite3.connect(unfinished)) as connection:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_LAYOUT}")
            write_sales(connection)
        # Servers that start together each put the same rows in place; the ones already reading keep their file.
        unfinished.replace(database)
    finally:
        unfinished.unlink(missing_ok=True)
