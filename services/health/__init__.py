"""Tells how each server does, from memory: never by asking a server while a caller waits.

settings  what can be set
app       builds everything, in the order in which it opens
api       HTTP: GET /health/mcp → monitor
monitor   CENTRAL: what the fleet's own words say about each configured server, and the cache's counts → state
state     the report, and which status follows from it (pure)
roll      the live workers, without what they offer
hearing   whether the bus answers
metrics   the servers' states for Prometheus
"""
