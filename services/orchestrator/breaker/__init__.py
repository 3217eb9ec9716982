"""Circuit breakers: a version of a server that fails again and again is left alone for a while, by all orchestrators.

outcomes  what a call's outcome says of the server: a failure, a success, nothing (pure)
guard     one version of one server: which calls are let through, when it opens, probes and closes
board     CENTRAL: all guards; a call runs inside `guarding`
events    the bus: what changes here is told, what others and the operator say is obeyed
metrics   states, transitions, refusals
"""
