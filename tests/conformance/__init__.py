"""The conformance suite of MCP's maintainers, run against Busbar as a server and as a client.

fixture/            an MCP server with all that the suite's scenarios ask for
suite.py            runs the suite's commands and reads what they found
driver.py           the client command that the suite starts: it asks the suite's server through a Busbar
differences.json    what is allowed to differ behind Busbar, each with its reason
"""
