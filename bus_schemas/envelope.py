"""The headers around native MCP JSON, and the base of every message. Header names are lower-case and exact."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

REQUEST_ID = "mcp-request-id"
TIMEOUT_MS = "mcp-timeout-ms"
"""What is left until the deadline when the message is sent, in milliseconds."""
SENT_AT = "mcp-sent-at"
"""When the message was sent, in milliseconds since 1970 by the sender's clock; on a query, if the caller says so."""
ATTEMPT = "mcp-attempt"
PRINCIPAL = "mcp-principal"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
SESSION_LOST = "mcp-session-lost"
"""On a call, `1`: the caller's own session has ended with the worker that held it, and the caller is to be told."""
PROGRESS = "mcp-progress"
"""On a query or a call, `1`: whoever asks takes messages of `Kind.PROGRESS` before the answer."""
LOG_LEVEL = "mcp-log-level"
"""On a call: whoever asks takes messages of `Kind.LOG`, from this level on, before the answer."""
CLIENT_CAPABILITIES = "mcp-client-capabilities"
"""On a call, JSON: what the client can be asked; whoever sends the call answers messages of `Kind.ASK`."""
ASK_ID = "mcp-ask-id"
FORWARD_PREFIX = "mcp-forward-"
"""What the name of a caller's header begins with that reaches the server; the value is the caller's."""

KIND = "mcp-kind"
INSTANCE = "mcp-instance"
CODE = "mcp-code"
EXECUTED = "mcp-executed"
UPSTREAM_US = "mcp-upstream-us"
"""How long the MCP server took, in microseconds."""
QUEUE_US = "mcp-queue-us"
"""How long the call waited for a slot of the worker, in microseconds."""

CHUNK = "mcp-chunk"
"""Which part of the result this is, from 1."""
CHUNKS = "mcp-chunks"
"""How many parts there are."""
SHA256 = "mcp-sha256"
"""Of the whole result, in hex."""

STATUS = "mcp-status"
"""On a reply to `mcp.v1.query`: the HTTP status the same query would have had."""
AUTHORIZATION = "authorization"
IDEMPOTENCY_KEY = "mcp-idempotency-key"
"""On a query: under the same key of the same caller it runs once, and is answered alike for 24 hours."""
IDEMPOTENCY_REPLAYED = "idempotency-replayed"
"""On a reply, `true`: it is what the first query with this key was told."""


class Kind(StrEnum):
    """What a reply to a call is; on the reply subject of a query only `progress` is named."""

    ACCEPTED = "accepted"
    PROGRESS = "progress"
    LOG = "log"
    ASK = "ask"
    CHUNK = "chunk"
    RESULT = "result"
    ERROR = "error"


class Message(BaseModel):
    """Base of every message. Readers ignore fields they do not know, so that release N works with N−1."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def encode(self) -> bytes:
        """The message as JSON, without fields that are null."""
        return self.model_dump_json(exclude_none=True).encode()
