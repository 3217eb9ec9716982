"""The port: what the worker asks of a live session with one MCP server, whatever its transport and era."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

from bus_schemas.workers import ServerFault
from services.runtime.errors import (
    DeadlineExceededError,
    DeadlinePassedError,
    NotExecutedError,
    QueryError,
    UpstreamError,
)

MAX_RESULT_BYTES = 16 * 2**20
"""A larger result is refused (SPEC §3, `result_too_large`)."""

EraName = Literal["modern", "legacy"]
Take = Callable[[bytes], None]
"""Takes the `params` object of one notification, as the server wrote it; must not block."""


Ask = Callable[[str, bytes], Awaitable[bytes]]
"""Takes the method and the params of a request of the server's; returns a JSON object with `result` or `error`."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who hears what a server says while it works on a request."""

    progress: Take | None = None
    """Each progress notification; the server is asked for them only if somebody takes them."""
    log: Take | None = None
    """Each log message that is certain to belong to the request."""
    ask: Ask | None = None
    """Answers what the server asks of the client meanwhile; None: nobody does."""


DEAF: Final = Hearing()
"""Nobody does."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class OpenError(Exception):
    """No session could be opened."""

    def __init__(self, fault: ServerFault) -> None:
        """Keep the fault, which is all that may be told."""
        super().__init__(fault.value)
        self.fault = fault


class SessionForgottenError(UpstreamError):
    """The server has forgotten the session, and what was in it: told where nobody may open it anew unasked."""


def fault_of(error: QueryError) -> ServerFault:
    """Return what a failed exchange with the server says about the server."""
    if isinstance(error, DeadlinePassedError) or isinstance(error.__cause__, TimeoutError):
        return ServerFault.CONNECTION_TIMEOUT
    if isinstance(error, NotExecutedError):
        return ServerFault.CONNECTION_REFUSED
    if isinstance(error, DeadlineExceededError):
        return ServerFault.NOT_RESPONDING
    return ServerFault.PROTOCOL_ERROR


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Who answers, and in which form of the protocol."""

    name: str
    version: str
    protocol_version: str
    era: EraName
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    instructions: str | None = None


@dataclass(frozen=True, slots=True)
class ListedCatalogue:
    """What a server offers: its own definitions, unknown fields included, in its own order."""

    tools: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    resource_templates: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[dict[str, Any]] = field(default_factory=list)


class Session(Protocol):
    """A live session with one MCP server; safe for many concurrent callers."""

    renews: bool
    """Whether a session that the server has forgotten is opened anew; else the call that finds out fails."""

    @property
    def server_info(self) -> ServerInfo:
        """Who answers."""

    @property
    def last_heard_at(self) -> float:
        """The moment of the last word from the server, on the monotonic clock of the process, in seconds."""

    async def request(
        self,
        method: str,
        params: bytes,
        *,
        timeout_s: float,
        meta: Mapping[str, Any] = NOTHING,
        headers: Mapping[str, str] = NOTHING,
        hearing: Hearing = DEAF,
    ) -> bytes:
        """Send one request; return the result object exactly as the server wrote it.

        Args:
            method: `tools/call`, `resources/read`, `prompts/get`, …
            params: a JSON object without `_meta`; its bytes reach the server as they are.
            timeout_s: how long the answer may take, in seconds.
            meta: the caller's `_meta` (client capabilities, client info, trace context, …); what the protocol
                requires and is not in it is filled in. A `progressToken` in it is replaced by our own.
            headers: of the caller, forwarded where the transport has headers.
            hearing: takes what the server says meanwhile.

        Raises:
            NotExecutedError: the request certainly did not reach the server.
            DeadlineExceededError: no answer in time; the server has been told to cancel.
            UpstreamError: the server died or broke the protocol while the request may have run.
            SessionForgottenError: the server has forgotten the session, and it is not to be renewed.
            UpstreamRefusedError: the server answered with a JSON-RPC error (in `mcp_error`).
            ResultTooLargeError: the result is over `MAX_RESULT_BYTES`.
            asyncio.CancelledError: the caller went away; the server has been told to cancel.
        """

    async def catalogue(self) -> ListedCatalogue:
        """List what the server offers; a kind of thing it does not know is an empty list.

        Raises:
            QueryError: as for `request`.
        """

    async def probe(self, timeout_s: float) -> float:
        """Return how long one real round trip took, in seconds.

        Raises:
            QueryError: there was none within `timeout_s`.
        """

    async def listen(self) -> None:
        """Hear what the server says unasked, where that takes a stream of its own; return when that has ended.

        What is heard about the lists comes to `lists_changed`. Where the server offers no such stream, or none is
        needed, it never returns.

        Raises:
            QueryError: there is no stream now, or it broke; it may be opened again.
        """

    async def lists_changed(self) -> None:
        """Return when the server has said, since this was last awaited, that what it offers has changed."""

    async def closed(self) -> ServerFault:
        """Return when the session is lost for good: the process has exited or the protocol is broken."""
