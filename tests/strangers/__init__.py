"""MCP servers that nobody here wrote, behind Busbar; `make strangers` installs them into `.strangers/`.

What `tests/conformance` needs of others comes with them: one lock, one folder.
"""
