"""The head of a plain HTTP message, read in one step (pure).

Plain is what every client sends that wants nothing special. What is anything else, or malformed, is not read here: a
parser of the whole of HTTP then decides what it is, and nothing that it refuses is taken.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

END: Final = b"\r\n\r\n"
_HEADERS: Final = rb"(?P<headers>(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
"""RFC 9112, section 5: no blank before the colon, no line that goes on in the next one."""
_REQUEST: Final = re.compile(
    rb"(?P<method>GET|POST) (?P<path>/[!$&-;=@-Z_a-z~]*)(?:\?(?P<query>[!$%&-;=?@-Z_a-z~]*))? HTTP/1\.1\r\n" + _HEADERS
)
_RESPONSE: Final = re.compile(rb"HTTP/1\.1 (?P<status>[2-5][0-9]{2}) [\t\x20-\x7e\x80-\xff]*\r\n" + _HEADERS)
_HEADER: Final = re.compile(rb"([^:]+):[ \t]*([^\r]*?)[ \t]*\r\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
_NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection"})
_UNSAID: Final = -1
BODILESS: Final = frozenset({204, 304})
"""Statuses of responses that have no body, whatever their headers say."""
_RESPONSES_REMEMBERED: Final = 64


class PlainHead(NamedTuple):
    """A request without its body; of HTTP/1.1, on a connection that stays."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case, in the order in which they came."""
    body_bytes: int


class PlainResponseHead(NamedTuple):
    """A response without its body, after which the connection stays."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; the values of one that came several times are separated by commas."""
    body_bytes: int


def read_head(block: bytes) -> PlainHead | None:
    """Return the request that `block`, which ends with an empty line, is the head of; None: it is not a plain one.

    Source: RFC 9112, sections 3, 5 and 6.
    """
    request = _REQUEST.fullmatch(block)
    if request is None:
        return None
    headers = _named(request["headers"])
    if (body_bytes := _body_bytes(headers)) is None:
        return None
    method = request["method"].decode()
    if method == "GET" and body_bytes > 0:
        return None
    return PlainHead(method, request["path"].decode(), request["query"] or b"", headers, max(0, body_bytes))


@lru_cache(maxsize=_RESPONSES_REMEMBERED)
def read_response_head(block: bytes) -> PlainResponseHead | None:
    """Return the response that `block` is the head of; None: it is not a plain one, or does not say how long it is."""
    response = _RESPONSE.fullmatch(block)
    if response is None or (status := int(response["status"])) in BODILESS:
        return None
    named = _named(response["headers"])
    body_bytes = _body_bytes(named)
    if body_bytes is None or body_bytes == _UNSAID:
        return None
    headers: dict[str, str] = {}
    for name, value in named:
        key, text = name.decode(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return PlainResponseHead(status, MappingProxyType(headers), body_bytes)


def _named(lines: bytes) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in _HEADER.findall(lines)]


def _body_bytes(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return how long the body is said to be, or `_UNSAID`; None: the message is not a plain one."""
    body_bytes = _UNSAID
    for name, value in headers:
        if name == b"content-length":
            if body_bytes != _UNSAID or _LENGTH.fullmatch(value) is None:
                return None
            body_bytes = int(value)
        elif name in _NOT_PLAIN or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    return body_bytes
