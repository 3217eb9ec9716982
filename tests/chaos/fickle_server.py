"""A ledger server over HTTP that answers late or with garbage while a file says so.

`python -m tests.chaos.fickle_server --ledger FILE --mood FILE --port N`; the mood is read at each call.
"""

import argparse
import json
import socket
import sys
from pathlib import Path
from typing import Any, Literal

import anyio
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.garbage import spare_collector
from tests.support.ledger import Ledger
from tests.support.ledger_server import create_server
from tests.support.servers import LocalServer

Mood = Literal["well", "garbage", "late"]

LATE_S = 6.0
"""How long a call takes while the server is late."""
_GARBAGE = b'{"jsonrpc": "2.0", "result'
_STOP_S = 2


class FickleServer(LocalServer):
    """The server as the rows use it."""

    def __init__(self, folder: Path, ledger: Path) -> None:
        """Prepare a server with a private `folder` that notes its calls in `ledger`."""
        super().__init__(folder)
        self._ledger = ledger
        self._mood = folder / "mood"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def become(self, mood: Mood) -> None:
        """Answer calls like this from now on."""
        self._mood.write_text(mood)

    def _configure(self) -> None:
        self.become("well")

    def _argv(self) -> list[str]:
        options = [f"--ledger={self._ledger}", f"--mood={self._mood}", f"--port={self.port}"]
        return [sys.executable, "-m", "tests.chaos.fickle_server", *options]

    async def _greets(self, stream: anyio.abc.ByteStream) -> bool:
        await stream.send(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        return (await stream.receive()).startswith(b"HTTP/1.1")


class Moody:
    """Hands requests to the MCP server; meanwhile bends its calls, or their answers, to the mood."""

    def __init__(self, app: ASGIApp, mood: Path) -> None:
        self._app = app
        self._mood = mood

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        mood = self._mood.read_text() if scope["type"] == "http" else "well"
        if mood == "well":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        call = _call(body)
        if call is None:
            await self._app(scope, _replay(body, receive), send)
        elif mood == "late":
            call["params"]["arguments"]["ms"] = int(LATE_S * 1000)
            late = json.dumps(call).encode()
            headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
            length = (b"content-length", str(len(late)).encode())
            await self._app({**scope, "headers": [*headers, length]}, _replay(late, receive), send)
        else:
            await self._app(scope, _replay(body, receive), _swallow)
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_GARBAGE)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _GARBAGE})


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _call(body: bytes) -> dict[str, Any] | None:
    """Return the message if it is a tool call."""
    try:
        message = json.loads(body)
    except ValueError:
        return None
    return message if isinstance(message, dict) and message.get("method") == "tools/call" else None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give `body` once, then whatever else comes: the end of the connection."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return given.pop() if given else await receive()

    return replay


async def _swallow(_message: Message) -> None:
    """Let an answer go nowhere."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--mood", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    ledger = Ledger(options.ledger)
    app = Moody(create_server("fickle", ledger).streamable_http_app(), options.mood)
    spare_collector()  # a collection stops this server for 0.2 s: a row would take that for what the gateway does to it
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=_STOP_S)
    try:
        with socket.create_server(("127.0.0.1", options.port), backlog=2048) as listener:
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        ledger.close()


if __name__ == "__main__":
    main()
