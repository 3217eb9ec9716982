"""The other side of the comparison: JSON-RPC spoken to a server without anything of Busbar in between.

Everything here is written apart from the worker's client, so that both cannot be wrong in the same way.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urljoin

import anyio
import httpx
import msgspec

Era = Literal["modern", "legacy"]
Kind = Literal["tool", "resource", "prompt"]
Send = Callable[[dict[str, Any]], Awaitable[AsyncIterator[bytes]]]
"""Sends a message, and returns the messages that come back after it; nobody reads those after a notification."""

_LEGACY_VERSION = "2025-11-25"
_LONGEST_LINE_BYTES = 64 * 2**20
_TIMEOUT_S = 30.0
_EXIT_S = 5.0
_CLIENT = {"name": "direct", "version": "0"}
_MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": _CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class _Message(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw()


class DirectCaller:
    """One conversation with one server; one request at a time."""

    def __init__(self, send: Send, era: Era) -> None:
        """Take the way to the server, and the words it understands; `greet()` comes first."""
        self._send = send
        self._era = era
        self._requests = 0

    async def greet(self) -> None:
        """Shake hands, where the era does."""
        if self._era == "legacy":
            offer = {"protocolVersion": _LEGACY_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
            await self._request("initialize", offer)
            await self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def ask(self, query: Mapping[str, Any]) -> bytes:
        """Return the bytes of the `result` that the server gives to what a query to Busbar would ask of it."""
        match query:
            case {"tool": name}:
                return await self._request("tools/call", {"name": name, "arguments": query.get("arguments", {})})
            case {"prompt": name}:
                return await self._request("prompts/get", {"name": name, "arguments": query.get("arguments", {})})
        return await self._request("resources/read", {"uri": query["resource"]})

    async def definitions(self, kind: Kind) -> list[dict[str, Any]]:
        """Return the definitions of all that the server has of a kind."""
        page = msgspec.json.decode(await self._request(f"{kind}s/list", {}))
        assert page.get("nextCursor") is None
        return list(page[f"{kind}s"])

    async def _request(self, method: str, params: dict[str, Any]) -> bytes:
        self._requests += 1
        meta = {"_meta": _MODERN_META} if self._era == "modern" else {}
        request = {"jsonrpc": "2.0", "id": self._requests, "method": method, "params": {**params, **meta}}
        with anyio.fail_after(_TIMEOUT_S):
            async for data in await self._send(request):
                message = msgspec.json.decode(data, type=_Message)
                if message.method is None and message.id == self._requests:
                    assert bytes(message.result), f"{method} was refused: {data[:2000]!r}"
                    return bytes(message.result)
        raise AssertionError(f"{method} was left unanswered")


@asynccontextmanager
async def stdio(
    command: Sequence[str], env: Mapping[str, str], cwd: str | None, era: Era
) -> AsyncIterator[DirectCaller]:
    """Start the server and talk to it over its standard streams; killed on the way out."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **env},
        cwd=cwd,
        limit=_LONGEST_LINE_BYTES,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def lines() -> AsyncIterator[bytes]:
        while line := await stdout.readline():
            yield line

    async def send(message: dict[str, Any]) -> AsyncIterator[bytes]:
        stdin.write(msgspec.json.encode(message) + b"\n")
        await stdin.drain()
        return lines()

    try:
        caller = DirectCaller(send, era)
        await caller.greet()
        yield caller
    finally:
        stdin.close()
        await _exit(process)


@asynccontextmanager
async def streamable_http(url: str) -> AsyncIterator[DirectCaller]:
    """Talk to the server of the handshake era at `url`, over streamable HTTP."""
    session: dict[str, str] = {}
    accepted = {"accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:

        async def send(message: dict[str, Any]) -> AsyncIterator[bytes]:
            response = await client.post(url, json=message, headers={**accepted, **session})
            assert response.is_success, response.text[:2000]
            if "mcp-session-id" in response.headers:
                session["mcp-session-id"] = response.headers["mcp-session-id"]
                session["mcp-protocol-version"] = _LEGACY_VERSION
            return _events(response)

        caller = DirectCaller(send, "legacy")
        await caller.greet()
        yield caller
        await client.delete(url, headers=session)


@asynccontextmanager
async def sse(url: str) -> AsyncIterator[DirectCaller]:
    """Talk to the server whose stream is at `url`, over the transport of 2024-11-05."""
    async with (
        httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client,
        client.stream("GET", url, headers={"accept": "text/event-stream"}) as stream,
    ):
        events = _events(stream)
        endpoint = urljoin(url, (await anext(events)).decode())

        async def send(message: dict[str, Any]) -> AsyncIterator[bytes]:
            response = await client.post(endpoint, json=message)
            assert response.is_success, response.text[:2000]
            return events

        caller = DirectCaller(send, "legacy")
        await caller.greet()
        yield caller


async def _events(stream: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the data of each event. Not by lines: httpx ends one also where JSON text holds U+2028."""
    rest = bytearray()
    async for part in stream.aiter_bytes():
        rest += part
        while (end := rest.find(b"\n\n")) >= 0:
            lines = bytes(rest[:end]).split(b"\n")
            del rest[: end + 2]
            if data := b"\n".join(line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")):
                yield data


async def _exit(process: asyncio.subprocess.Process) -> None:
    """Let it end by itself, as a closed stdin asks of it, or kill it."""
    try:
        async with asyncio.timeout(_EXIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
