"""What a transport does: it carries one request to the server and its response back."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from bus_schemas.workers import ServerFault
from services.worker.mcp.messages import Message
from services.worker.mcp.session import DEAF, Hearing

LISTS: Final = ("tools", "resources", "prompts")
"""What a server may say has changed; resource templates change with the resources."""

_ABOUT_LISTS: Final = frozenset(
    # What was listed before a subscription began may be old: nothing is said twice.
    ["notifications/subscriptions/acknowledged", *(f"notifications/{kind}/list_changed" for kind in LISTS)]
)


class SessionExpiredError(Exception):
    """The server has forgotten the session (legacy era); the request did not run."""


@dataclass(slots=True)
class Exchange:
    """One request on its way: what is sent, and whether it has been."""

    request_id: int
    message: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    opens_session: bool = False
    hearing: Hearing = DEAF
    is_subscription: bool = False
    """Whether the response is long in coming: until then the server says what has changed."""
    was_sent: bool = False
    """Set as soon as the server may have read any of it."""


class ListChanges:
    """Whether the server has said that what it offers has changed."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._said = asyncio.Event()

    def heed(self, notification: Message) -> None:
        """Note it if it is about a list."""
        if notification.method in _ABOUT_LISTS:
            self.note()

    def note(self) -> None:
        """Take what is known of the lists for old."""
        self._said.set()

    async def wait(self) -> None:
        """Return when it was said since this was last awaited."""
        await self._said.wait()
        self._said.clear()


class Transport(Protocol):
    """A way to one MCP server."""

    @property
    def is_http(self) -> bool:
        """Whether each request is an HTTP request: it has headers, and one that is refused harms no other."""

    @property
    def last_heard_at(self) -> float:
        """See `Session.last_heard_at`."""

    async def exchange(self, exchange: Exchange) -> Message:
        """Send the request and return its response; when cancelled, tell the server to cancel.

        Raises:
            NotExecutedError: it was not sent.
            UpstreamError: it was, and there will be no valid response.
            ResultTooLargeError: the response is over the cap.
            SessionExpiredError: the server wants to be greeted anew.
        """

    async def notify(self, message: bytes, headers: Mapping[str, str]) -> None:
        """Send a notification, as far as there is somebody to take it.

        Raises:
            NotExecutedError: it was not sent.
        """

    async def listen(self, headers: Mapping[str, str]) -> None:
        """Listen to the server's own stream of the legacy era, with these headers; return when it has ended.

        Where there is none, or none beside the one that carries everything, it never returns.

        Raises:
            QueryError: there is none now, or it broke.
        """

    async def lists_changed(self) -> None:
        """See `Session.lists_changed`."""

    async def closed(self) -> ServerFault:
        """See `Session.closed`."""
