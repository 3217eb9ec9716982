"""MCP servers that nobody here wrote, behind Busbar; `make strangers` installs them into `.strangers/`."""
