"""The caller's trace context, as far as it is well-formed: what is not never leaves the edge (pure)."""

import re

from bus_schemas.envelope import TRACEPARENT, TRACESTATE
from services.orchestrator.forwarding import HeaderValues
from services.runtime.tracing import NO_TRACE, TraceContext

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_KEY = r"(?:[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_VALUE = r"[ -+\--<>-~]{0,255}[!-+\--<>-~]"
_MEMBER = re.compile(f"{_KEY}={_VALUE}")
_MOST_MEMBERS = 32
_LONGEST_TRACESTATE = 512


def trace_context(headers: HeaderValues) -> TraceContext:
    """Return the caller's trace context without what is malformed.

    Source:
        W3C Trace Context, Level 2, sections 3.2 and 3.3; 512 characters of `tracestate` is what everyone must pass on.
    """
    parents = headers(TRACEPARENT)
    if len(parents) != 1 or not _TRACEPARENT.fullmatch(parents[0]):
        return NO_TRACE
    state = ",".join(headers(TRACESTATE))
    members = [member for part in state.split(",") if (member := part.strip(" \t"))]
    is_well_formed = len(state) <= _LONGEST_TRACESTATE and 0 < len(members) <= _MOST_MEMBERS
    if not is_well_formed or not all(map(_MEMBER.fullmatch, members)):
        return TraceContext(parents[0])
    return TraceContext(parents[0], state)
