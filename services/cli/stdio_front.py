"""MCP over stdio in front of `/mcp` over HTTP: one line is one message, both ways, in both eras of the protocol.

What the client says goes out as it is, each message as a request of its own; what comes back, also as a stream of
events, goes to the client as it is. Nothing is understood but what HTTP needs to be told in headers.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx

from services.cli.errors import report
from services.runtime.mirrored_headers import NAMED_BY, HeaderMap, encode_header, header_map, text_at

_VERSION_MEMBER: Final = "io.modelcontextprotocol/protocolVersion"
_SESSION_ID: Final = "mcp-session-id"
_VERSION: Final = "mcp-protocol-version"
_EVENTS: Final = "text/event-stream"
_ACCEPT: Final = f"application/json, {_EVENTS}"
_INTERNAL_ERROR: Final = -32603
_CONNECT_S: Final = 5.0
_HEARD_S: Final = 10.0
"""How long what needs no answer may take to be taken."""
_FINISH_S: Final = 5.0
"""How long what is in flight has to end when the client says no more."""
_AGAIN_S: Final = 1.0
"""Between two tries to hear what belongs to no request."""

Write = Callable[[bytes], None]


class StdioFront:
    """Carries the messages of one client."""

    def __init__(self, urls: Sequence[str], key: str | None, *, http: httpx.AsyncClient, write: Write) -> None:
        """Take whom to ask.

        Args:
            urls: of the same thing; the first that takes the connection is asked.
            key: for all of them.
            http: asks.
            write: takes one message for the client, without a line end.
        """
        self._urls = urls
        self._http = http
        self._write = write
        self._headers = {"accept": _ACCEPT, "content-type": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._session: dict[str, str] = {}
        """Headers that a client of the handshake era has to send from its handshake on."""
        self._mirrored: dict[str, HeaderMap] = {}
        """Of the tools that were listed: which of their arguments go into headers, too."""
        self._exchanges: dict[str, asyncio.Task[None]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Carry messages until there are no more lines; then what is in flight may end."""
        try:
            async for line in lines:
                if line.strip():
                    await self._take(line.strip())
            if self._exchanges:
                await asyncio.wait(self._exchanges.values(), timeout=_FINISH_S)
        finally:
            tasks = [*self._exchanges.values(), *([] if self._listening is None else [self._listening])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, line: bytes) -> None:
        message = _read(line)
        method, is_request = message.get("method"), "id" in message and "method" in message
        if method == "notifications/cancelled" and not self._session:
            self._cancel(message)
        elif is_request and method == "initialize":
            await self._exchange(line, message)  # what follows needs the session
        elif is_request:
            self._begin(json.dumps(message["id"]), self._exchange(line, message))
        else:
            try:
                async with asyncio.timeout(_HEARD_S):
                    await self._exchange(line, message)
            except TimeoutError:
                report("Busbar does not answer")

    def _begin(self, request_id: str, exchange: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(exchange)
        self._exchanges[request_id] = task

        def forget(_: asyncio.Task[None]) -> None:
            if self._exchanges.get(request_id) is task:
                del self._exchanges[request_id]

        task.add_done_callback(forget)

    def _cancel(self, message: Mapping[str, Any]) -> None:
        """Without a session a closed stream is the sign that a request is not wanted any more."""
        params = message.get("params")
        wanted = params.get("requestId") if isinstance(params, dict) else None
        task = self._exchanges.get(json.dumps(wanted))
        if task is not None:
            task.cancel()

    async def _exchange(self, line: bytes, message: Mapping[str, Any]) -> None:
        headers = {**self._headers, **self._session, **self._modern_headers(message)}
        failure = "Busbar cannot be reached"
        for url in self._urls:
            try:
                async with self._http.stream("POST", url, content=line, headers=headers) as response:
                    await self._pass_on(response, message)
                return
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            except httpx.HTTPError:
                failure = "the connection to Busbar broke off"
                break
        self._fail(message, failure)

    async def _pass_on(self, response: httpx.Response, message: Mapping[str, Any]) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind == _EVENTS:
            async for event in _events(response):
                self._tell(event, message)
            return
        body = await response.aread()
        if response.status_code == 202 or not body:
            return
        if kind != "application/json":
            self._fail(message, _told(body, response.status_code))
            return
        if message.get("method") == "initialize" and _SESSION_ID in response.headers:
            self._begin_session(response.headers[_SESSION_ID], body)
        self._tell(body, message)

    def _tell(self, told: bytes, asked: Mapping[str, Any]) -> None:
        """Give the client a message; a line break in JSON can only stand between tokens."""
        if asked.get("method") == "tools/list":
            self._learn(_read(told).get("result"))
        self._write(told.replace(b"\r", b" ").replace(b"\n", b" "))

    def _learn(self, listed: Any) -> None:
        tools = listed.get("tools") if isinstance(listed, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                with suppress(ValueError):
                    self._mirrored[tool["name"]] = header_map(tool.get("inputSchema"))

    def _modern_headers(self, message: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers that a request of 2026-07-28 must have beside its body: what it says of itself."""
        params, method = message.get("params"), message.get("method")
        meta = params.get("_meta") if isinstance(params, dict) else None
        version = meta.get(_VERSION_MEMBER) if isinstance(meta, dict) else None
        if not isinstance(version, str) or not isinstance(method, str) or not isinstance(params, dict):
            return {}
        headers = {_VERSION: version, "mcp-method": method}
        name = params.get(NAMED_BY.get(method, ""))
        if isinstance(name, str):
            headers["mcp-name"] = encode_header(name)
        if method == "tools/call":
            for path, token in self._mirrored.get(str(name), {}).items():
                if (text := text_at(params.get("arguments"), path)) is not None:
                    headers[f"mcp-param-{token}"] = encode_header(text)
        return headers

    def _begin_session(self, session_id: str, body: bytes) -> None:
        result = _read(body).get("result")
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        self._session = {_SESSION_ID: session_id}
        if isinstance(version, str):
            self._session[_VERSION] = version
        if self._listening is not None:
            self._listening.cancel()
        self._listening = asyncio.create_task(self._listen(dict(self._session)))

    async def _listen(self, session: Mapping[str, str]) -> None:
        """Hear what belongs to no request, as long as the session lasts; not to hear it is no failure."""
        headers = {**self._headers, **session, "accept": _EVENTS}
        while True:
            for url in self._urls:
                try:
                    async with self._http.stream("GET", url, headers=headers) as response:
                        if response.status_code in (404, 405):
                            return
                        async for event in _events(response):
                            self._tell(event, {})
                    break
                except httpx.HTTPError:
                    continue
            await asyncio.sleep(_AGAIN_S)

    def _fail(self, message: Mapping[str, Any], why: str) -> None:
        report(why)
        if "id" in message and "method" in message:
            error = {"code": _INTERNAL_ERROR, "message": why}
            self._write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())


def new_http_client(*, trust_env: bool) -> httpx.AsyncClient:
    """Return a client for calls that may take as long as they like."""
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(timeout=httpx.Timeout(None, connect=_CONNECT_S), limits=limits, trust_env=trust_env)


def _read(line: bytes) -> dict[str, Any]:
    """Return the message, empty where it is none: Busbar says what is wrong with it."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the data of each event, which Busbar writes on one line."""
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield line.removeprefix("data:").strip().encode()


def _told(body: bytes, status: int) -> str:
    detail = _read(body).get("detail")
    return detail if isinstance(detail, str) else f"Busbar answered with HTTP status {status}"
