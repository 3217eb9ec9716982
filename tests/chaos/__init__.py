"""Faults under load, with ledgers: `python -m tests.chaos` (`make chaos`).

__main__       the command: runs rows, prints the table
suite          every row, in the order of the table
faults/        one file for each part of the system that breaks: what is done to it, and what must hold meanwhile
fault          what a row is
ground         what the faults are done to: a fleet, its bus, its store and two MCP servers
bus            NATS with users as in production, one node or three
fickle_server  an MCP server that answers late or with garbage when told to
release_before a worker that knows nothing but the messages of release N−1
running        one row: load, fault, account, judgement
load           the load of a row, a process of its own; load_process is its handle
senders        how the load reaches the gateway: a load balancer's way over HTTP, a patient one over NATS
findings       what became of every query of a row
table          the figures of rows, as Markdown
soak           all rows in turn for a long time, and what that did to the processes that lived through it
"""
