"""A streamable HTTP server of the handshake era in the test's own event loop, which can forget its sessions."""

import asyncio

from tests.support.mcp_servers.raw_http import Request

INITIALIZED = b'{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"old","version":"1"}}'


class OldServer:
    """Its `handle` is for `raw_server`."""

    def __init__(self, *, unknown_session: int = 404, stream: int = 405) -> None:
        """Begin without sessions.

        Args:
            unknown_session: the status of a request of a session that it does not know.
            stream: the status of a request for the stream of the session; 200: there is one.
        """
        self.sessions: list[str] = []
        self.known: set[str] = set()
        self.unknown_session = unknown_session
        self.stream = stream
        self.seen: list[Request] = []
        self.streams: list[Request] = []
        """Those that are open."""
        self.hold = asyncio.Event()
        """Requests are answered while it is set."""
        self.hold.set()

    async def handle(self, request: Request, reader: asyncio.StreamReader) -> None:
        """Answer one request."""
        self.seen.append(request)
        session = request.headers.get("mcp-session-id")
        method = request.json.get("method", "") if request.body else request.method
        if request.headers.get("mcp-protocol-version") == "2026-07-28":
            await request.answer(b"Bad Request", status=400, kind="text/plain")
        elif method == "initialize":
            self.sessions.append(f"s{len(self.sessions)}")
            self.known.add(self.sessions[-1])
            result = b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request.json["id"], INITIALIZED)
            await request.answer(result, headers=f"mcp-session-id: {self.sessions[-1]}\r\n")
        elif session not in self.known:
            error = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"unknown session"}}'
            await request.answer(error, status=self.unknown_session)
        elif method == "GET":
            await self._open_stream(request, reader)
        elif method == "DELETE" or "id" not in request.json or "method" not in request.json:
            await request.answer(status=202)
        else:
            await self.hold.wait()
            await request.result(b'{"tools":[]}' if method == "tools/list" else b"{}")

    def methods(self) -> list[str]:
        """What has come: JSON-RPC methods, HTTP methods of what has no body, empty for answers."""
        return [request.json.get("method", "") if request.body else request.method for request in self.seen]

    async def _open_stream(self, request: Request, reader: asyncio.StreamReader) -> None:
        if self.stream != 200:
            await request.answer(status=self.stream)
            return
        await request.begin_events()
        self.streams.append(request)
        try:
            await request.wait_until_closed(reader)
        finally:
            self.streams.remove(request)
            request.writer.close()
