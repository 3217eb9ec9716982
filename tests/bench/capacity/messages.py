"""Where an HTTP message ends whose head says how long its body is."""

import re
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def body_of(heard: bytes | bytearray) -> slice | None:
    """Return where the body of the message is that `heard` begins with; None: it has not all come."""
    head_end = heard.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    length = _LENGTH.search(heard, 0, head_end)
    body = slice(head_end + 4, head_end + 4 + (0 if length is None else int(length[1])))
    return None if len(heard) < body.stop else body
