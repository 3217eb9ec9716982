"""The command `python -m examples.database_mcp`."""

from pathlib import Path

from examples.database_mcp.server import create_server
from examples.database_mcp.storage import StorageError, default_database, ensure_database
from examples.serving import options, serve


def main() -> None:
    """Make the database where it is missing, then serve it."""
    parser = options("database_mcp", "An MCP server for a SQLite database of sales, made on the first start.")
    parser.add_argument("--database", type=Path, help="the SQLite file (default: busbar/sales.db in the cache folder)")
    arguments = parser.parse_args()
    database: Path = arguments.database or default_database()
    try:
        ensure_database(database)
    except StorageError as error:
        parser.exit(1, f"database_mcp: {error}\n")
    serve(create_server(database, version=arguments.version), port=arguments.port, host=arguments.host)


if __name__ == "__main__":
    main()
