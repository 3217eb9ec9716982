"""Shows and steers the fleet, for holders of an admin key.

settings  what can be set
app       builds everything, in the order in which it opens
api       HTTP: GET /v1/workers ← fleet
"""
