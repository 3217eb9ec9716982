"""A name server of a test: `python -m tests.monitoring.name_server NAMES` answers on port 53 of 127.0.0.1.

NAMES is a file of JSON, an object of names to lists of IPv4 addresses. Prints `ready`, and then each question.
"""

import json
import socket
import struct
import sys
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">HHHHHH")
_QUESTION: Final = struct.Struct(">HH")
_RECORD: Final = struct.Struct(">HHHIH4s")
_ANSWER: Final = 0x8400  # authoritative
_NO_SUCH_NAME: Final = 3
_A: Final = 1
_INTERNET: Final = 1
_NAME_OF_THE_QUESTION: Final = 0xC000 | _HEADER.size
"""A pointer to the name behind the header."""


def answer(query: bytes, names: dict[str, list[str]]) -> tuple[str, bytes]:
    """Return the name that is asked for, and the reply: its addresses, or that there is no such name."""
    labels, at = [], _HEADER.size
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    question_end = at + 1 + _QUESTION.size
    kind, _ = _QUESTION.unpack(query[at + 1 : question_end])
    name = ".".join(labels)
    addresses = names.get(name, []) if kind == _A else []
    flags = _ANSWER if name in names else _ANSWER | _NO_SUCH_NAME
    (number, *_) = _HEADER.unpack(query[: _HEADER.size])
    records = [
        _RECORD.pack(_NAME_OF_THE_QUESTION, _A, _INTERNET, 0, 4, socket.inet_aton(address)) for address in addresses
    ]
    header = _HEADER.pack(number, flags, 1, len(records), 0, 0)
    return name, header + query[_HEADER.size : question_end] + b"".join(records)


def main(path: Path) -> None:
    names = json.loads(path.read_text())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 53))
        print("ready", flush=True)  # noqa: T201
        while True:
            query, client = listener.recvfrom(512)
            name, reply = answer(query, names)
            print(name, flush=True)  # noqa: T201
            listener.sendto(reply, client)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
