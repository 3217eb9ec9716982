"""What every service process needs in order to run.

bus/        the hardened NATS connection, the inbox for replies, discovery by $SRV
config/     busbar.yaml: the policy everyone reads, the connections only worker and supervisor read
auth        keys, principals and their rights
fleet       the workers there are, from their own words
replicas    the orchestrators there are, and how all of them are told something
store/      the shared Redis or Valkey, which may be away at any time
errors      what can go wrong with a query
field_errors  what is wrong with a field, from pydantic's words
http        problem+json, probes, Host and Origin
openapi     what every service's document says of errors
serving     the HTTP server, and its stop
lifecycle   supervised tasks, signals, the end of a process
logs        JSON lines
metrics     /metrics
outlines    the outermost members of JSON that others wrote, however deep
settings    what every service's settings share
"""
