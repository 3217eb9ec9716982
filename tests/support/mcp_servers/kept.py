"""Servers whose results are the bytes of files: over stdio as `python -m tests.support.mcp_servers.kept FOLDER`.

Standard library only. A call of the tool `kept` with `name` gets the file of that name as its result. One with `held`
gets it after the next call has got its own.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.mcp_servers.raw_http import Request

TOOL = "kept"
_DISCOVERED = b'{"supportedVersions":["2026-07-28"],"capabilities":{}}'
_INITIALIZED = b'{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"kept","version":"1"}}'
_TOOLS = b'{"tools":[{"name":"kept","inputSchema":{"type":"object"}}]}'


class KeptResults:
    """The files, and the one call that is held."""

    def __init__(self, folder: Path) -> None:
        """Serve the files of `folder`."""
        self._folder = folder
        self._held: bytes | None = None

    def answers(self, message: dict[str, Any]) -> list[bytes]:
        """Return the responses that are to be written now that `message` has come."""
        if "id" not in message:
            return []
        match message["method"]:
            case "server/discover":
                result = _DISCOVERED
            case "initialize":
                result = _INITIALIZED
            case "tools/list":
                result = _TOOLS
            case "tools/call":
                return self._called(message["id"], message["params"]["arguments"])
            case _:
                result = b"{}"
        return [response(message["id"], result)]

    def _called(self, request_id: int, arguments: dict[str, Any]) -> list[bytes]:
        answer = response(request_id, (self._folder / arguments["name"]).read_bytes())
        if arguments.get("held"):
            self._held = answer
            return []
        held, self._held = self._held, None
        return [answer] if held is None else [answer, held]


def response(request_id: int, result: bytes) -> bytes:
    """Return a JSON-RPC response around the bytes of a result."""
    return b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request_id, result)


def event(message: bytes) -> bytes:
    """Return a message as an event of a stream, a data line for each of its own."""
    return b"event: message\r\nid: 1\r\ndata: " + message.replace(b"\n", b"\r\ndata: ") + b"\r\n\r\n"


Handler = Callable[[Request, asyncio.StreamReader], Awaitable[None]]


def in_bodies(results: KeptResults) -> Handler:
    """Answer each request with a JSON body."""

    async def handle(request: Request, _: asyncio.StreamReader) -> None:
        [answer] = results.answers(request.json)
        await request.answer(answer)

    return handle


def in_events(results: KeptResults) -> Handler:
    """Answer each request with a stream of one event."""

    async def handle(request: Request, _: asyncio.StreamReader) -> None:
        [answer] = results.answers(request.json)
        await request.answer(event(answer), kind="text/event-stream")

    return handle


def on_one_stream(results: KeptResults) -> Handler:
    """Answer on the one stream of the old HTTP+SSE transport."""
    streams: list[Request] = []

    async def handle(request: Request, reader: asyncio.StreamReader) -> None:
        if request.method == "GET":
            streams.append(request)
            await request.begin_events()
            await request.write(b"event: endpoint\r\ndata: /messages\r\n\r\n")
            await request.wait_until_closed(reader)
            return
        await request.answer(b"Accepted", status=202, kind="text/plain")
        for answer in results.answers(request.json):
            await streams[-1].write(event(answer))

    return handle


def main() -> None:
    """Answer until the input ends."""
    results = KeptResults(Path(sys.argv[1]))
    for line in sys.stdin.buffer:
        for answer in results.answers(json.loads(line)):
            sys.stdout.buffer.write(answer + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
