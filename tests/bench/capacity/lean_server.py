"""An MCP server (2026-07-28) that costs next to nothing: `python -m tests.bench.capacity.lean_server [--stdio]`.

Its tool `answer` takes `ms` milliseconds and gives `bytes` bytes of text. Over HTTP its URL is the first line on
stdout, and `GET /calls` says how many calls have begun. It is the load, not what is measured: the official SDK would
take longer for a call than Busbar does.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop

from tests.bench.capacity.messages import body_of

_SCHEMA = b'{"type":"object","properties":{"ms":{"type":"integer"},"bytes":{"type":"integer"}}}'
_RESULTS = {
    "server/discover": b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"resultType":"complete"}',
    "tools/list": b'{"tools":[{"name":"answer","inputSchema":%s}],"resultType":"complete"}' % _SCHEMA,
}
_ANSWER = b'{"content":[{"type":"text","text":"%s"}],"resultType":"complete"}'


class _Arguments(msgspec.Struct):
    ms: int = 0
    bytes: int = 64


class _Params(msgspec.Struct):
    arguments: _Arguments = msgspec.field(default_factory=_Arguments)


class _Request(msgspec.Struct):
    method: str
    id: int | None = None
    params: _Params = msgspec.field(default_factory=_Params)


_decode = msgspec.json.Decoder(_Request).decode


class Tool:
    """Answers messages, each in its time."""

    def __init__(self) -> None:
        self.calls = 0

    def take(self, message: bytes, write: Callable[[bytes], object]) -> None:
        """Answer one message with `write`."""
        asked = _decode(message)
        if asked.id is None:
            return
        if asked.method != "tools/call":
            write(_response(asked.id, _RESULTS.get(asked.method, b"{}")))
            return
        self.calls += 1
        wanted = asked.params.arguments
        response = _response(asked.id, _ANSWER % (b"x" * wanted.bytes))
        asyncio.get_running_loop().call_later(wanted.ms / 1000, write, response)


class Connection(asyncio.Protocol):
    """One HTTP connection."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._heard = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        where = body_of(self._heard)
        if where is None:
            return
        body, is_count = self._heard[where], self._heard.startswith(b"GET /calls ")
        self._heard = self._heard[where.stop :]
        if is_count:
            self._write(b"%d" % self._tool.calls)
        else:
            self._tool.take(body, self._write)

    def _write(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
            )


def _response(request_id: int, result: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request_id, result)


async def _serve_http() -> None:
    tool = Tool()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(tool), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", flush=True)
    await server.serve_forever()


async def _serve_stdio() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    output, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    tool = Tool()
    while line := await reader.readline():
        tool.take(line, lambda response: output.write(response + b"\n"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stdio", action="store_true")
    uvloop.run(_serve_stdio() if parser.parse_args().stdio else _serve_http())


if __name__ == "__main__":
    main()
