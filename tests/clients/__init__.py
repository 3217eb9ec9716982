"""MCP clients that nobody here wrote use a fleet at `/mcp`, over two orchestrators.

tour.py               what each client does, and what it has to see
travellers.py         how each client is started
fastmcp_tour.py       the tour of FastMCP's client, in the Python of `.strangers/python`
typescript_tour.mjs   the tour of the TypeScript SDK's client, in Node
"""
