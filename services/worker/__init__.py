"""Holds the session with one version of one MCP server, and answers its calls off the bus.

settings      what can be set
app           builds everything, in the order in which it opens
consumer      takes calls off the bus, answers each exactly once → execution
execution     CENTRAL: one call, from the message to the server's answer → slots, mcp/keeper
progress      what the server says of a call's progress: all of it, but for what comes too fast
asks          what the server asks of the client during a call
log_messages  what the server logs during a call, from the level on that is wanted
replies       delivers the outcome, large ones in chunks
callers       a session of its own for each caller, with `session: caller` → mcp/
states        which request states were given out here: their continuation comes back
returns       sends again what nobody was there to take
config        reads its server's configuration anew when that is ordered → execution
slots         how many calls run at once, who waits, and when a wait is not worth beginning
call_metrics  what becomes of calls, and where their time goes
metrics       what the worker shows of its load, its session and of clocks
announcement  what the worker says of itself: joined, heartbeats, draining, left
presence      when the worker takes calls: joins, withdraws, leaves
probes        /livez, /readyz and /metrics, where the worker has a port
stderr_files  where the server's stderr is kept
mcp/          the session with the server, kept open for ever
"""
