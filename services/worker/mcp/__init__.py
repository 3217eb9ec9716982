"""The worker's side towards one MCP server.

keeper          keeps one session open for ever, hands it calls, tells its status; decides by keeping → listening
listening       keeps the stream open on which a server says unasked what has changed
session         the port: what a session does, and the words for why there is none
opening         opens a session: transport (the old one is found by its refusal of a POST), era, greeting → live
live            the session itself: a transport and an era put together; lists by listing
eras            what the modern and the legacy form of the protocol add to a request, how they greet and listen
transport       what a transport does → http, stdio, sse
http            streamable HTTP: each request a POST of its own; headers by mirroring → client
client          the HTTP client: the configured headers and the token go with every request → oauth
oauth           the access token of a server that wants one: fetched, kept, renewed
stdio, sse      one stream of messages for all requests, told apart by pending, cut by lines
messages        the JSON-RPC envelope; params and results stay bytes
server_process  the process of a server that we start, under the guard of services.runtime.processes
answering       answers to what a server asks of its client
errands         what is said on the way out
"""
