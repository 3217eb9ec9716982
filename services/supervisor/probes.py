"""One small HTTP request, or only a connection: a client library would take longer to load than the system to start."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from services.supervisor.plan import Service

_TIMEOUT_S: Final = 2.0
_MOST_BYTES: Final = 16 * 2**20


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: Any
    """The JSON; None if it is none."""


async def get(url: str, path: str, *, key: str | None = None) -> Reply | None:
    """Return the answer to `GET url/path`; None if there is none within two seconds."""
    parts = urlsplit(url)
    authorization = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            raw = await _exchange(parts.hostname or "", parts.port or 80, path, {"host": parts.netloc, **authorization})
    except OSError:
        return None
    return _reply(raw)


async def is_ready(service: Service) -> bool:
    """Return whether its /readyz answers 200."""
    reply = await get(service.url, "/readyz")
    return reply is not None and reply.status == 200


async def is_listening(url: str) -> bool:
    """Whether any of the addresses in `url` takes connections."""
    for part in url.split(","):
        address = urlsplit(part.strip() if "://" in part else f"nats://{part.strip()}")
        with suppress(OSError):
            async with asyncio.timeout(2):
                _, writer = await asyncio.open_connection(address.hostname or "127.0.0.1", address.port or 4222)
            writer.close()
            return True
    return False


async def _exchange(host: str, port: int, path: str, headers: Mapping[str, str]) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        writer.write(f"GET {path} HTTP/1.0\r\n{''.join(lines)}\r\n".encode())
        return await _read_all(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    """Return everything up to the end: to a request of HTTP/1.0 an answer ends with its connection."""
    parts = []
    size = 0
    while size < _MOST_BYTES and (part := await reader.read(2**16)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _reply(raw: bytes) -> Reply | None:
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        return None
    try:
        return Reply(int(words[1]), json.loads(body))
    except ValueError:
        return Reply(int(words[1]), None)
