"""An MCP server for the words people use of the sales database: nicknames of products, names of figures.

__main__.py    the command
server.py      the tools and the resources
aliases.py     which product a nickname means
columns.py     which SQL expression a business term means
vocabulary.py  finds a word however it is written, or the ones spelled alike
"""
