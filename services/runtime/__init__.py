"""What every service process needs in order to run.

bus/        the hardened NATS connection, the inbox for replies, discovery by $SRV
config/     busbar.yaml: the policy everyone reads, the connections only worker and supervisor read
auth        keys, principals and their rights
fleet       the workers there are, from their own words
breakers    what orchestrators and the operator say of circuit breakers: the newest word on each
words       what was said of each server: the newest word on each, told by peers and retained in the store
maintenance which servers an operator has taken out → words
rollouts    which share each version of a server gets → words
definition_pins  which definitions of tools an operator accepts → words
replicas    the orchestrators there are, and how all of them are told something
store/      the shared Redis or Valkey, which may be away at any time
errors      what can go wrong with a query
mirrored_headers  MCP's headers that repeat what the body says
i_json      JSON that two readers cannot understand differently
field_errors  what is wrong with a field, from pydantic's words
http        problem+json, probes, Host and Origin
openapi     what every service's document says of errors
listening   the socket that a service listens on
serving     the HTTP server, and its stop
plain_requests  uvicorn's protocol, with a short way for plain, small, whole requests → plain_heads, short_cycle
gathered_writes  what one turn of the event loop writes goes out back to back
process     the main function of every process
scheduling  how the kernel shares the processors between us and others
memory      memory of large results goes back to the system
http_process  the main function of every HTTP service → process, serving
left_out    libraries are imported without their parts that are not used
lifecycle   supervised tasks, signals, the end of a process
logs        JSON lines
line_stream lines written by a thread of their own: a slow reader costs lines, never time
metrics     /metrics
histograms  histograms without locks, with exemplars
loop_lag    how late the event loop is
tracing     spans, and the context that travels; without a collector only that
otlp        spans of OpenTelemetry, sent to a collector: the one home of its SDK
time_limits a limit of time for what every query does
racing      waiting for whichever comes first
audit_chain how the lines of the audit log are chained, and how that is checked
text        text and JSON of servers, made harmless for terminals and pages
file_lock   a file that one process at a time may change
clocks      how long a message was on its way, although the clocks differ
garbage     what lives as long as the process is out of the garbage collector's way
outlines    the outermost members of JSON that others wrote, however deep
settings    what every service's settings share
credentials with what a service shows NATS who it is → nkeys (NATS's key pairs)
container_probe  whether the service of a container is ready: its health check
"""
