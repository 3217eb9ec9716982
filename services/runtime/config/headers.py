"""Which header names a configuration may use: for headers that we send, and for those of callers that are passed on."""

import re

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")  # a token of RFC 9110
_VALUE = re.compile(r"[\t\x20-\x7e]*\Z")

_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# The caller's credentials here are keys of Busbar: a server that saw one could use the whole gateway in its name.
_CREDENTIALS_OF_BUSBAR = frozenset({"authorization", "cookie"})
_OF_THE_MESSAGE = frozenset(
    {"accept", "accept-encoding", "content-encoding", "content-type", "host", "last-event-id", "origin", "user-agent"}
)


def sent_header(name: str) -> str:
    """Return `name` in lower case if a configured header of that name may be sent to a server.

    Raises:
        ValueError: it is no header name, or belongs to the connection.
    """
    lowered = _header_name(name)
    if lowered in _OF_THE_CONNECTION:
        raise ValueError("this header belongs to the connection and cannot be set")
    return lowered


def forwarded_header(name: str) -> str:
    """Return `name` in lower case if a caller's header of that name may reach a server.

    Raises:
        ValueError: it is no header name; it belongs to the connection, to the message or to MCP; or it
            carries the caller's credentials for Busbar.
    """
    lowered = _header_name(name)
    if lowered in _CREDENTIALS_OF_BUSBAR:
        raise ValueError(f"{lowered} carries the caller's key for Busbar and is never passed on")
    if lowered in _OF_THE_CONNECTION | _OF_THE_MESSAGE or lowered.startswith("mcp-"):
        raise ValueError(f"{lowered} belongs to the connection or to MCP and cannot be passed on")
    return lowered


def header_value(value: str) -> str:
    """Return `value` if it can be sent as a header's value.

    Raises:
        ValueError: it holds a line break or another character than printable ASCII.
    """
    if not _VALUE.match(value):
        raise ValueError("a header's value is printable ASCII, without line breaks")
    return value


def _header_name(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError("a header's name is letters, digits and '-'")
    return name.lower()
