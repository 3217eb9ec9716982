"""Answers queries: reads them, chooses who answers, and asks over the bus.

settings    what can be set
app         builds everything, in the order in which it opens
direct_routes  HTTP: POST /v1/query, /mcp and /servers/<server>/mcp on their short way → api, mcp/api
api         HTTP: POST /v1/query → query
protected_resource  HTTP: where access tokens come from; told in every 401
bus_api     NATS: mcp.v1.query → query
openapi     the document of the HTTP side: the body of a query, the key
intake      the body of a request that leads to a query, within bounds
mcp/        HTTP: /mcp and /servers/<server>/mcp, for MCP clients of both eras → query
lists       HTTP: what there is (servers, tools, resources, prompts) ← catalogue
tools_api   HTTP: one server's tools as plain HTTP, and their OpenAPI document
plain       arguments → a query; its reply → what the tool gives (pure)
tool_document  definitions of tools → an OpenAPI document (pure)
query       CENTRAL: answer(), from the body's bytes to the reply's; result(), for mcp/
observer    what is told of a query once it is over → metrics, query_log, its trace
metrics     the customer's metrics, and where a query's time went
query_log   a line of JSON for each query that failed, or more, on stdout
tracing     the caller's trace context, as far as it is well-formed (pure)
forwarding  which of a caller's headers reach a server (pure)
reading     a body's bytes → a query, or what is wrong with it
limits      a key's rate and its calls at once
admission   queries at once, in all and for one server, and bytes held: what is beyond is refused
writing     an HTTP answer counts as held until its caller has taken it
hanging_up  whether an HTTP caller is still there while its request is worked on
flow_metrics  what is in flight, held and sent again
routing     which servers may answer, in which order (pure)
catalogue   what live workers offer, by server and version
quarantine  how many tools' definitions are not those that were pinned
arguments   a tool's input schema, compiled once
schema_cost how much work a schema can make (pure)
taken_out   servers that an operator has taken out are not asked
attempts    one server is asked: which version, which worker, who next → answers
answers     one version's answer: arguments checked, looked up in cache/, else called inside breaker/ → dispatch
cache/      answers that are given again
recent      what the latest hits were asked with: the same words, while nothing has changed, come to the same
breaker/    versions of servers that fail again and again are left alone for a while
flushes     what is flushed is distrusted, and that is acknowledged
presence    that this orchestrator is there, and what it has counted
idempotency/  a key of a caller runs one query; repetitions are told what it was told
context     what came with a query beside its body, and how far it has come
pins        which worker holds a caller's own session, which one is to hold a new one
continuations  which worker gave out the request state that a query continues
repeating   whether a call that may have run may be sent again
retry_budget  how many may be: a share of the latest calls (pure)
weights     which version gets the next call (pure)
dispatch    one attempt: the call goes out, its outcome comes back
"""
