"""Shows and steers the fleet, for holders of an admin key.

settings     what can be set
app          builds everything, in the order in which it opens
api          HTTP: GET /v1/workers ← fleet
cache_api    HTTP: GET and DELETE /v1/cache → cache
cache        CENTRAL to it: what the shared cache holds; cleared in the store, then in every orchestrator
access       whose key may do that
auditing     every route that changes something → audit
audit        the log of attempts and outcomes: a file that lines are only appended to
audit_chain  how its lines are chained, and how that is checked (pure)
errors       why something is not done
state        what a request finds in the running service
"""
