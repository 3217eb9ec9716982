"""Large results in parts: cut by the worker, put together and verified by the orchestrator."""

import hashlib
from collections.abc import Iterator

from bus_schemas.calls import ChunkHeaders, ResultHeaders
from bus_schemas.queries import MAX_RESULT_BYTES

INLINE_BYTES = 700_000
"""A result up to this size travels in one message."""
CHUNK_BYTES = 512 * 1024


class DamagedError(Exception):
    """The parts do not make the result that was cut."""


def cut(result: bytes, told: ResultHeaders) -> Iterator[tuple[ChunkHeaders, bytes]]:
    """Yield the parts of `result`, each with its headers."""
    sha256 = hashlib.sha256(result).hexdigest()
    chunks = -(-len(result) // CHUNK_BYTES)
    view = memoryview(result)
    for chunk in range(1, chunks + 1):
        part = view[(chunk - 1) * CHUNK_BYTES : chunk * CHUNK_BYTES]
        yield ChunkHeaders(told, chunk, chunks, sha256), bytes(part)


class Assembly:
    """The parts of one result, as they come."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._bytes = 0

    def add(self, headers: ChunkHeaders, part: bytes) -> bytes | None:
        """Return the whole result once the last part is there.

        Raises:
            DamagedError: the parts are more than a result can be, or their digest is another.
        """
        if headers.chunk not in self._parts:
            self._parts[headers.chunk] = part
            self._bytes += len(part)
        if self._bytes > MAX_RESULT_BYTES or not 1 <= headers.chunk <= headers.chunks:
            raise DamagedError
        if len(self._parts) < headers.chunks:
            return None
        result = b"".join(self._parts[chunk] for chunk in sorted(self._parts))
        if hashlib.sha256(result).hexdigest() != headers.sha256:
            raise DamagedError
        return result
