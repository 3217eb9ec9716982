"""Shows and steers the fleet, for holders of an admin key.

settings     what can be set
app          builds everything, in the order in which it opens
servers_api  HTTP: GET /v1/servers ← servers
servers      every server: its versions, their workers and breakers, whether it is taken out
workers_api  HTTP: GET /v1/workers, POST /v1/workers/{instance}/drain → workers
workers      the live workers, and how one is told to leave
breakers_api HTTP: GET /v1/breakers, POST /v1/breakers/{server}/isolate and reset → breakers
breakers     what the orchestrators know of breakers, and an operator's orders to all of them
maintenance_api  HTTP: POST and DELETE /v1/servers/{server}/maintenance → maintenance
maintenance  how a server is taken out and put back
pins_api     HTTP: GET /v1/pins, POST and DELETE /v1/pins/{server} → pins
pins         which definitions of a server's tools are accepted, and which are in quarantine
known_servers  the servers that can be steered
telling      how every orchestrator is told something, and what is answered of who has heard it
bodies       the bodies of requests
moments      moments as they are told over HTTP
cache_api    HTTP: GET and DELETE /v1/cache → cache
cache        CENTRAL to it: what the shared cache holds; cleared in the store, then in every orchestrator
rollouts/    a server's queries move from one version to another, step by step → workers
config_api   HTTP: POST /v1/config/reload → reloading
reloading    CENTRAL to it: every process says what it would put into force; then all do, or none
console/     what a browser shows at `/`, and orders that go the way of the API
access       whose key, or log-in at the console, may do that
auditing     every route under /v1: who is let in, and what is written of it → audit
audit        the log of attempts and outcomes: a file that lines are only appended to → runtime.audit_chain
errors       why something is not done
state        what a request finds in the running service
"""
