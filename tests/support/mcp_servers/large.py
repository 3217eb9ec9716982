"""An MCP server over stdio whose results are as large as one asks."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("large")


@server.tool(structured_output=False)
def fill(mib: int) -> str:
    """Return so many MiB of text."""
    return "x" * (mib * 2**20)


if __name__ == "__main__":
    server.run(transport="stdio")
