"""Orchestrator → worker: one call, and what comes back.

A call's body is native MCP JSON without an id, `{"method": "tools/call", "params": {…}}`; the rest travels in headers.
Of an MCP caller there may be `"meta": {…}` beside them: what its `_meta` tells servers of it (capabilities, name).
A reply's header `mcp-kind` says what it is; a result's body is the MCP server's result object, byte for byte.
A large result comes in chunks on the bulk inbox instead (`inboxes.bulk_inbox`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from bus_schemas import envelope
from bus_schemas.envelope import Kind, Message
from bus_schemas.errors import ErrorCode, Executed
from bus_schemas.header_numbers import read_number

Headers = dict[str, str]

LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""MCP's, and RFC 5424's."""

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_RESULT: Final = Kind.RESULT.value
_KNOWN_CODES = {code.value: code for code in ErrorCode}


class CallHeaders(NamedTuple):
    """What travels beside a call."""

    request_id: str
    timeout_ms: int
    sent_at_ms: int
    attempt: int
    principal: str
    traceparent: str | None = None
    tracestate: str | None = None
    session_lost: bool = False
    """The worker that held the caller's own session is gone."""
    forwarded: Mapping[str, str] = _NO_HEADERS
    """The caller's headers that the server's configuration names; names in lower case."""
    wants_progress: bool = False
    """Whether the sender takes replies of `Kind.PROGRESS`."""
    log_level: str | None = None
    """The least of `LOG_LEVELS` of which it takes replies of `Kind.LOG`; None: it takes none."""
    client_capabilities: str | None = None
    """JSON, `ClientCapabilities` of MCP: the sender takes replies of `Kind.ASK` for these; None: it takes none."""

    def __repr__(self) -> str:
        return f"CallHeaders({self.request_id})"  # not the caller's headers

    def encode(self) -> Headers:
        headers = {
            envelope.REQUEST_ID: self.request_id,
            envelope.TIMEOUT_MS: str(self.timeout_ms),
            envelope.SENT_AT: str(self.sent_at_ms),
            envelope.ATTEMPT: str(self.attempt),
            envelope.PRINCIPAL: self.principal,
        }
        if self.traceparent is not None:
            headers[envelope.TRACEPARENT] = self.traceparent
        if self.tracestate is not None:
            headers[envelope.TRACESTATE] = self.tracestate
        if self.session_lost:
            headers[envelope.SESSION_LOST] = "1"
        if self.wants_progress:
            headers[envelope.PROGRESS] = "1"
        if self.log_level is not None:
            headers[envelope.LOG_LEVEL] = self.log_level
        if self.client_capabilities is not None:
            headers[envelope.CLIENT_CAPABILITIES] = self.client_capabilities
        for name, value in self.forwarded.items():
            headers[envelope.FORWARD_PREFIX + name] = value
        return headers

    @classmethod
    def decode(cls, headers: Mapping[str, str]) -> Self:
        """Raises ValueError if a header that every release sends is missing or malformed."""
        try:
            return cls(
                request_id=headers[envelope.REQUEST_ID],
                timeout_ms=read_number(headers[envelope.TIMEOUT_MS]),
                sent_at_ms=read_number(headers[envelope.SENT_AT]),
                attempt=read_number(headers.get(envelope.ATTEMPT, "1")),
                principal=headers.get(envelope.PRINCIPAL, ""),
                traceparent=headers.get(envelope.TRACEPARENT),
                tracestate=headers.get(envelope.TRACESTATE),
                session_lost=headers.get(envelope.SESSION_LOST) == "1",
                forwarded={
                    name.removeprefix(envelope.FORWARD_PREFIX): value
                    for name, value in headers.items()
                    if name.startswith(envelope.FORWARD_PREFIX)
                },
                wants_progress=headers.get(envelope.PROGRESS) == "1",
                log_level=_log_level(headers.get(envelope.LOG_LEVEL)),
                client_capabilities=headers.get(envelope.CLIENT_CAPABILITIES),
            )
        except KeyError as error:
            raise ValueError(f"a call without the header {error.args[0]}") from error


class ResultHeaders(NamedTuple):
    """What travels beside a result."""

    instance: str
    upstream_us: int
    queue_us: int

    def encode(self) -> Headers:
        return {
            envelope.KIND: _RESULT,
            envelope.INSTANCE: self.instance,
            envelope.UPSTREAM_US: str(self.upstream_us),
            envelope.QUEUE_US: str(self.queue_us),
        }

    @classmethod
    def decode(cls, headers: Mapping[str, str]) -> Self:
        """Raises ValueError if a time is not a number."""
        return cls(
            instance=headers.get(envelope.INSTANCE, ""),
            upstream_us=read_number(headers.get(envelope.UPSTREAM_US, "0")),
            queue_us=read_number(headers.get(envelope.QUEUE_US, "0")),
        )


@dataclass(frozen=True, slots=True)
class ChunkHeaders:
    """What travels beside a part of a large result; its parts may come in any order, and are the result."""

    told: ResultHeaders
    chunk: int
    chunks: int
    sha256: str

    def encode(self) -> Headers:
        return {
            **self.told.encode(),
            envelope.KIND: Kind.CHUNK.value,
            envelope.CHUNK: str(self.chunk),
            envelope.CHUNKS: str(self.chunks),
            envelope.SHA256: self.sha256,
        }

    @classmethod
    def decode(cls, headers: Mapping[str, str]) -> Self:
        """Raises ValueError if a number is missing or is not one."""
        return cls(
            told=ResultHeaders.decode(headers),
            chunk=read_number(headers.get(envelope.CHUNK, "")),
            chunks=read_number(headers.get(envelope.CHUNKS, "")),
            sha256=headers.get(envelope.SHA256, ""),
        )


@dataclass(frozen=True, slots=True)
class ErrorHeaders:
    """What travels beside an error; its body is the server's JSON-RPC error object, or empty."""

    instance: str
    code: ErrorCode
    executed: Executed

    def encode(self) -> Headers:
        return {
            envelope.KIND: Kind.ERROR.value,
            envelope.INSTANCE: self.instance,
            envelope.CODE: self.code.value,
            envelope.EXECUTED: self.executed,
        }

    @classmethod
    def decode(cls, headers: Mapping[str, str]) -> Self:
        """A code that this release does not know is a fault of the server's side; nothing else is told of it."""
        return cls(
            instance=headers.get(envelope.INSTANCE, ""),
            code=_KNOWN_CODES.get(headers.get(envelope.CODE, ""), ErrorCode.UPSTREAM_ERROR),
            executed="no" if headers.get(envelope.EXECUTED) == "no" else "maybe",
        )


def accepted_headers(instance: str) -> Headers:
    """`accepted`: this worker holds the call; sent when the result takes more than a moment."""
    return {envelope.KIND: Kind.ACCEPTED.value, envelope.INSTANCE: instance}


def progress_headers(instance: str) -> Headers:
    """`progress`: the body is the `params` of the server's `notifications/progress`, without the token.

    Best effort: of a flood the latest, ten a second; none after the outcome.
    """
    return {envelope.KIND: Kind.PROGRESS.value, envelope.INSTANCE: instance}


def log_headers(instance: str) -> Headers:
    """`log`: the body is the `params` of the server's `notifications/message`; none comes after the outcome."""
    return {envelope.KIND: Kind.LOG.value, envelope.INSTANCE: instance}


def ask_headers(instance: str, ask_id: str) -> Headers:
    """`ask`: the body is the method and the params of a request of the server's to the client; see `AnswerAsked`."""
    return {envelope.KIND: Kind.ASK.value, envelope.INSTANCE: instance, envelope.ASK_ID: ask_id}


def _log_level(level: str | None) -> str | None:
    return level if level in LOG_LEVELS else None


class CancelCall(Message):
    """On `mcp.v1.cancel.<server>`: nobody waits for this call any more."""

    request_id: str
    attempt: int = 1
