"""Messages in NATS's client protocol, as bytes: what every query goes through, so each is read and written once.

Source: https://docs.nats.io/reference/reference-protocols/nats-protocol (PUB, HPUB, MSG, HMSG), ADR-4 (headers).
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from nats.js.api import Header

_VERSION: Final = "NATS/1.0"
_STATUS: Final = Header.STATUS.value
_DESCRIPTION: Final = Header.DESCRIPTION.value
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BLANKS: Final = " \t\r\n\v\f"
_known_names: set[str] = set()
"""Header names that were looked at and found good; there are few, and they are always the same."""
_MOST_KNOWN_NAMES: Final = 1000


Buffer = bytes | bytearray
"""What has come from the server."""


class Arrival(NamedTuple):
    """The control line of a message for us, and where its parts are in the buffer."""

    subject: str
    sid: int
    reply: str
    body_at: int
    """After the headers, if there are any."""
    ends_at: int
    """Of the body; a CRLF follows."""
    headers_at: int
    """Where the headers begin; `body_at` if there are none."""


class Command(NamedTuple):
    """What publishes a message."""

    data: bytes
    size: int
    """Of headers and payload, as max_payload counts them."""


def publish_command(subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> Command | None:
    """Return the command that publishes the message.

    None: a part of it would not be what it is taken for (a space in a subject, a line break in a header).
    """
    if not _is_subject(subject) or (reply and not _is_subject(reply)):
        return None
    if not headers:
        size = len(payload)
        return Command(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), size, payload), size)
    block = _header_block(headers)
    if block is None:
        return None
    size = len(block) + len(payload)
    sizes = (len(block), size)
    return Command(b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject.encode(), reply.encode(), *sizes, block, payload), size)


def read_arrival(buffer: Buffer, at: int) -> Arrival | None:
    """Read the MSG or HMSG that begins at `at`; None if something else does, or if it has not all come.

    Raises:
        ValueError, IndexError: it is malformed.
    """
    line_end = buffer.find(b"\r\n", at)
    if line_end < 0:
        return None
    verb, *words = buffer[at:line_end].decode("utf-8", "replace").split(" ")
    headers_at = body_at = line_end + 2
    if verb == "MSG":
        sizes = 1
    elif verb == "HMSG":
        sizes = 2
        body_at += int(words[-2])
    else:
        return None
    ends_at = headers_at + int(words[-1])
    if len(buffer) < ends_at + 2:
        return None
    subject, sid, *reply = words[: len(words) - sizes]
    return Arrival(subject, int(sid), reply[0] if reply else "", body_at, ends_at, headers_at)


def read_headers(block: bytes) -> dict[str, str] | None:
    """Return the headers of a message, its status among them if it has one; None if there are none."""
    first, *lines = block.decode("utf-8", "replace").split("\r\n")
    headers: dict[str, str] = {}
    if status := first[len(_VERSION) :].strip(_BLANKS):
        headers[_STATUS], _, description = status.partition(" ")
        if description:
            headers[_DESCRIPTION] = description
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip(_BLANKS)] = value.strip(_BLANKS)
    return headers or None


def _is_subject(text: str) -> bool:
    return text.isprintable() and bool(text) and " " not in text


def _header_block(headers: Mapping[str, str]) -> bytes | None:
    lines = [_VERSION]
    for name, value in headers.items():
        if name not in _known_names and not _is_name(name):
            return None
        lines.append(f"{name}: {value}")
    lines += ("", "")
    block = "\r\n".join(lines)
    breaks = len(lines) - 1
    if block.count("\r") != breaks or block.count("\n") != breaks:
        return None
    return block.encode()


def _is_name(name: str) -> bool:
    is_good = _NAME.fullmatch(name) is not None
    if is_good and len(_known_names) < _MOST_KNOWN_NAMES:
        _known_names.add(name)
    return is_good
