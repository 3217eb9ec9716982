"""MCP servers to test against: one well-behaved, written with the official SDK, and one for every fault."""
