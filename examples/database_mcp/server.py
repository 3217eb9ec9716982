"""The tools and the resource of the sales database."""

import threading
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from examples.database_mcp.queries import QueryResult, SqlError, run_query
from examples.database_mcp.tables import (
    TableDescription,
    TableList,
    TableNotFoundError,
    describe_table,
    list_tables,
    schema_sql,
)

QUERY_TIME_LIMIT_S = 5.0
MAX_ROWS = 1_000

_READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_UNCHANGING = CacheHint(ttl_ms=300_000, scope="public")


def create_server(database: Path, *, version: str, time_limit_s: float = QUERY_TIME_LIMIT_S) -> MCPServer:
    """Build the server for a database that exists; a query is stopped after `time_limit_s` seconds."""
    server = MCPServer(
        "database_mcp",
        title="Sales database",
        instructions="A read-only SQLite database of a shop: customers, products and orders.",
        version=version,
        log_level="WARNING",
        cache_hints={"tools/list": _UNCHANGING, "resources/list": _UNCHANGING, "resources/read": _UNCHANGING},
        subscriptions=False,
    )

    @server.tool(name="list_tables", title="List tables", annotations=_READ_ONLY)
    def _list_tables() -> TableList:
        """List the tables of the sales database with their number of rows."""
        return list_tables(database)

    @server.tool(name="describe_table", title="Describe a table", annotations=_READ_ONLY)
    def _describe_table(
        table: Annotated[str, Field(description="Name of the table, such as `orders`.", max_length=128)],
    ) -> TableDescription:
        """Describe the columns of one table: types, keys and what they refer to."""
        try:
            return describe_table(database, table)
        except TableNotFoundError as error:
            raise ToolError(str(error)) from error

    @server.tool(name="query", title="Run a query", annotations=_READ_ONLY)
    async def _query(
        sql: Annotated[str, Field(description="One SELECT statement in SQLite's dialect.", max_length=100_000)],
        max_rows: Annotated[int, Field(description="Most rows to return.", ge=1, le=MAX_ROWS)] = 100,
    ) -> QueryResult:
        """Run one read-only SQL SELECT on the sales database.

        Results beyond `max_rows` or 256 KiB are cut off and marked `truncated`; a query that takes too long is stopped.
        """
        abandoned = threading.Event()
        query = partial(run_query, database, sql, max_rows=max_rows, time_limit_s=time_limit_s, abandoned=abandoned)
        try:
            return await anyio.to_thread.run_sync(query, abandon_on_cancel=True)
        except SqlError as error:
            raise ToolError(str(error)) from error
        finally:
            abandoned.set()  # when the caller has gone the thread need not go on

    @server.resource(
        "schema://sales", name="sales_schema", title="Schema of the sales database", mime_type="application/sql"
    )
    def _schema() -> str:
        """The SQL that made the tables, with comments on units and formats."""
        return schema_sql(database)

    return server
