"""MCP servers that nobody here wrote, behind Busbar; `make strangers` installs them into `.strangers/`.

What the tests in `tests/conformance` and `tests/clients` need of others comes with them: one lock, one folder.
"""
