"""An MCP server for a SQLite database of sales.

__main__.py     the command: makes the database where it is missing, then serves
server.py       the tools and the resource
queries.py      runs a stranger's SELECT within limits
tables.py       what tables and columns there are
connections.py  opens the database so that nothing can be written
storage.py      where the file is, and how it is made whole or not at all
sales.py        the tables and the sample rows
"""
