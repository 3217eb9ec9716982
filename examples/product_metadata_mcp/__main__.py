"""The command `python -m examples.product_metadata_mcp`."""

from examples.product_metadata_mcp.server import create_server
from examples.serving import options, serve


def main() -> None:
    """Serve until stopped."""
    parser = options("product_metadata_mcp", "An MCP server for product nicknames and the SQL of business terms.")
    arguments = parser.parse_args()
    serve(create_server(version=arguments.version), port=arguments.port, host=arguments.host)


if __name__ == "__main__":
    main()
