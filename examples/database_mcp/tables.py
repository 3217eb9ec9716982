"""What tables there are, what columns they have, and the SQL that made them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, Field

from examples.database_mcp.connections import open_read_only

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"


class Table(BaseModel):
    """A table and its size."""

    name: str = Field(description="Name of the table.")
    row_count: int = Field(description="Number of rows.")


class TableList(BaseModel):
    """Every table of the database."""

    tables: list[Table] = Field(description="The tables, by name.")


class Column(BaseModel):
    """A column of a table."""

    name: str = Field(description="Name of the column.")
    type: str = Field(description="Its declared SQLite type.")
    nullable: bool = Field(description="Whether it may be NULL.")
    primary_key: bool = Field(description="Whether it is part of the primary key.")
    references: str | None = Field(description="The `table.column` it points to, if it is a foreign key.")


class TableDescription(BaseModel):
    """A table and its columns."""

    name: str = Field(description="Name of the table.")
    columns: list[Column] = Field(description="The columns, in their order.")


class TableNotFoundError(Exception):
    """The database has no table of that name; the text names those it has."""


def list_tables(database: Path) -> TableList:
    """Return every table with its number of rows."""
    with closing(open_read_only(database)) as connection:
        return TableList(
            tables=[
                # The name comes from the database's own list, so it may stand in the text.
                Table(name=name, row_count=connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608
                for name in _table_names(connection)
            ]
        )


def describe_table(database: Path, table: str) -> TableDescription:
    """Return the columns of a table; upper and lower case are the same, as in SQL.

    Raises:
        TableNotFoundError: there is no such table.
    """
    with closing(open_read_only(database)) as connection:
        names = {name.lower(): name for name in _table_names(connection)}
        name = names.get(table.lower())
        if name is None:
            raise TableNotFoundError(f"There is no such table. The tables are: {', '.join(sorted(names.values()))}.")
        references = {
            column: f"{other_table}.{other_column}"
            for column, other_table, other_column in connection.execute(
                'SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)', (name,)
            )
        }
        columns = [
            Column(
                name=column,
                type=declared,
                # SQLite reports an INTEGER PRIMARY KEY as nullable, though it never is NULL.
                nullable=not not_null and not key,
                primary_key=bool(key),
                references=references.get(column),
            )
            for column, declared, not_null, key in connection.execute(
                'SELECT name, type, "notnull", pk FROM pragma_table_info(?) ORDER BY cid', (name,)
            )
        ]
    return TableDescription(name=name, columns=columns)


def schema_sql(database: Path) -> str:
    """Return the CREATE statements of all tables and indexes, with their comments."""
    with closing(open_read_only(database)) as connection:
        statements = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name")
        return "".join(f"{sql};\n\n" for (sql,) in statements)


def _table_names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute(_TABLES)]
