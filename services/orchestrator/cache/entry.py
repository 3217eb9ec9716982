"""An answer as it is kept: a line about it, and the result's own bytes. What is damaged is as good as not there."""

import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

LARGEST_BYTES: Final = 2**20
"""Of a result; larger ones are not kept."""

Generations = tuple[bytes, bytes, bytes]
"""Of everything, of the server, of the tool. An entry is valid while all three are as it was written under."""


class _About(msgspec.Struct, array_like=True):
    digest: str
    instance: str
    checksum: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer and where it came from."""

    result: bytes
    instance: str
    """The worker that gave it."""

    def encode(self, digest: str) -> bytes:
        """Return what is put under the key with this digest."""
        about = _About(digest, self.instance, zlib.crc32(self.result))
        return msgspec.json.encode(about) + b"\n" + self.result


def decode_entry(data: bytes, digest: str) -> Entry | None:
    """Return the entry in `data`, or None: it is damaged, or is not the one that was put under this key."""
    line, _, result = data.partition(b"\n")
    try:
        about = msgspec.json.decode(line, type=_About)
    except msgspec.DecodeError:
        return None
    if about.digest != digest or about.checksum != zlib.crc32(result):
        return None
    return Entry(result, about.instance)
