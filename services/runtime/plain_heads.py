"""The head of a plain HTTP request, read in one step (pure).

Plain is what every client sends that wants nothing special. What is anything else, or malformed, is not read here: a
parser of the whole of HTTP then decides what it is, and nothing that it refuses is taken.
"""

import re
from typing import Final, NamedTuple

END: Final = b"\r\n\r\n"
_REQUEST: Final = re.compile(
    rb"(?P<method>GET|POST) (?P<path>/[!$&-;=@-Z_a-z~]*)(?:\?(?P<query>[!$%&-;=?@-Z_a-z~]*))? HTTP/1\.1\r\n"
    # RFC 9112, section 5: no blank before the colon, no line that goes on in the next one.
    rb"(?P<headers>(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
_HEADER: Final = re.compile(rb"([^:]+):[ \t]*([^\r]*?)[ \t]*\r\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
_NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class PlainHead(NamedTuple):
    """A request without its body; of HTTP/1.1, on a connection that stays."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    """Names in lower case, in the order in which they came."""
    body_bytes: int


def read_head(block: bytes) -> PlainHead | None:
    """Return the request that `block`, which ends with an empty line, is the head of; None: it is not a plain one.

    Source: RFC 9112, sections 3, 5 and 6.
    """
    request = _REQUEST.fullmatch(block)
    if request is None:
        return None
    headers = [(name.lower(), value) for name, value in _HEADER.findall(request["headers"])]
    body_bytes = None
    for name, value in headers:
        if name == b"content-length":
            if body_bytes is not None or _LENGTH.fullmatch(value) is None:
                return None
            body_bytes = int(value)
        elif name in _NOT_PLAIN or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    method = request["method"].decode()
    if method == "GET" and body_bytes:
        return None
    return PlainHead(method, request["path"].decode(), request["query"] or b"", headers, body_bytes or 0)
