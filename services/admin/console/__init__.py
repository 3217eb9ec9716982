"""The console at `/`: what a browser shows of the fleet, and orders that go the way of the API.

pages         HTTP: the log-in, the page, the forms of orders, live updates → board, api_calls
console       what a request finds
board         CENTRAL: what is to be seen now, as panels of HTML → fleet_view, traffic_view, audit_tail, templates
fleet_view    servers as they are shown
traffic_view  traffic as it is shown → plots (drawn, pure), traffic (what versions made of their calls, by the second)
audit_tail    the last lines of the audit log, and whether its chain holds
templates     Jinja: whatever a text says, it stays text
static_files  the style, the scripts and the icon, from memory
browsers      what browsers are told to let a page do
stream        server-sent events: each panel that has changed

sessions      who is logged in → session_store: the other replicas know it, too
cookies       the cookie's name and flags
origins       whether a page of ours asks

orders        what can be ordered: each one is an operation of the API with a form
forms         a form becomes the operation's path and body (pure but for the reading)
api_calls     asks our own API, in the name of whoever is logged in
answers       its answer in words (pure)
notices       the words on their way to the next page
"""
