"""A server whose one tool is described by a file: `python -m tests.support.mcp_servers.described FILE`."""

import argparse
from pathlib import Path

from mcp.server.mcpserver import MCPServer


def main() -> None:
    """Serve over stdio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args().file
    server = MCPServer("described", version="1.0.0")

    async def add(a: int, b: int) -> int:
        return a + b

    server.add_tool(add, description=file.read_text())
    server.run("stdio")


if __name__ == "__main__":
    main()
