"""Speaks MCP to clients: the whole fleet as one server, in both eras of the protocol.

opening       builds all of it
api           HTTP: who asks, at which address, with which body → front
front         CENTRAL: from a body to its reply; tells the eras apart → modern, legacy
conversation  the reply to one request: JSON, or events as long as there is something to say
subscriptions streams on which clients hear that lists have changed → changes
changes       what has changed of the lists, for whom
events        server-sent events, as MCP uses them
modern        2026-07-28: every request says everything about itself; headers must say what the body says
legacy        the handshake era: sessions whose id is all there is of them → requests
client_events what clients of that era say beside their requests, which may concern any orchestrator
input_required  what a server wants to know is asked of clients that do not know `input_required`
requests      what both eras know → lists, calls
searching     `?tools=search`: two tools in place of all, one that finds and one that calls → tool_index
tool_index    which tools are meant by some words (pure)
lists         pages of tools, resources, templates and prompts, from the catalogue in memory → directory
calls         a request → a query → its result, or failures
directory     whom a name or a URI belongs to, and what is listed of everybody → names, uri_templates
names         what tools, prompts and resources are called in `/mcp` (pure)
uri_templates whether a URI may come from a template (pure)
eras          what results, errors and definitions look like in each era (pure)
failures      why a query has no result, in the words of MCP (pure)
discovery     what `/mcp` says of itself
headers       what the headers of a modern request must say
sessions      session ids that any replica can read
jsonrpc       the envelope; what goes to a server keeps its own bytes
"""
