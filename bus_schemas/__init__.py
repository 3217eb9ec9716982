"""The language of the bus: pydantic and the standard library only.

names       what a server, a version and an instance may be called
subjects    every NATS subject and queue group
inboxes     where replies go, large ones apart
envelope    the headers around native MCP JSON, and the base of every message
header_numbers  the numbers that headers hold
queries     what a caller asks and is answered (HTTP body = NATS body)
calls       orchestrator → worker: one call, and the kinds of reply
digests     callers and request states as they are told apart on the bus
workers     what a worker says of itself: joined, heartbeat, draining, left; its catalogue
replicas    what an orchestrator says of itself: heartbeat, left
cache       what happens to the shared cache: flushed, and its acknowledgement
breakers    what becomes of breakers: changed, by an orchestrator or an operator; what each orchestrator knows of them
maintenance which servers an operator has taken out; what each process knows of it
pins        which definitions of tools an operator accepts; what each process knows of it
config      reading the configuration anew; the orders of a deploy to the supervisor
rollouts    which share each version of a server gets; what each process knows of it
latencies   how long calls took, in buckets that can be added up
control     orders to one worker, and their acknowledgements
errors      every error code with its status, text and meaning
examples    of every message and header set
*_schemas   headers, messages and $SRV replies as JSON Schema
asyncapi    generates docs/asyncapi.json from all of the above
"""
