"""Other gateways beside Busbar, before the same MCP server, in one run: `python -m tests.bench.peers`.

__main__.py      what is asked how often; writes what was measured
every.py         the peers
peer.py          what a peer is, and the server that stands behind all of them
program.py       starts a peer's program from `.peers`, and waits for it
session.py       the way of an MCP client: one handshake, then calls
busbar.py        our own ways, beside the direct ones
mcpo.py          and one file for each other peer: how it is started, and what it is asked
rightness.py     one question to each way before there is load
measuring.py     the rounds, all ways in turns
report.py        the medians, as JSON and as a table
picture.py       and as a picture

`make peers` installs the peers, each into a folder of its own, by the lock files in `locks`.
"""
