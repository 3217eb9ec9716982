"""A NATS server that says only what a test wants: it records what it hears, holds answers back, or stops reading."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

_INFO = {"server_id": "fake", "version": "2.15.1", "headers": True, "max_payload": 8 * 1024 * 1024, "proto": 1}


class FakeNats:
    """Made by `fake_nats`; one client at a time is enough for it."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.heard: list[str] = []
        """The verbs of all commands, in order, after each connection's handshake."""
        self.answers_pings = True
        self.reads = asyncio.Event()
        """Cleared: nothing is read any more, the connection stays."""
        self.reads.set()
        self.before_unsub: Callable[[str], Awaitable[None]] | None = None
        """Is given the id of a subscription before its end is in force."""
        self.subscriptions: dict[str, str] = {}
        """Of the last connection, subject to id."""
        self._writer: asyncio.StreamWriter | None = None
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def say(self, data: bytes) -> None:
        """Send `data` to the client."""
        assert self._writer is not None
        self._writer.write(data)

    def deliver(self, subject: str, payload: bytes) -> None:
        """Send one message for the client's subscription to `subject`."""
        self.say(
            b"MSG %s %s %d\r\n%s\r\n" % (subject.encode(), self.subscriptions[subject].encode(), len(payload), payload)
        )

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the server of one connection until it ends."""
        self.connections += 1
        self.subscriptions = {}
        self._writer = writer
        self._writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            self.say(f"INFO {json.dumps(_INFO)}\r\n".encode())
            await reader.readuntil(b"PING\r\n")
            self.say(b"PONG\r\n")
            while line := await reader.readline():
                await self.reads.wait()
                verb, *rest = line.decode().split()
                if verb in ("PUB", "HPUB"):
                    await reader.readexactly(int(rest[-1]) + 2)
                self.heard.append(verb)
                await self._obey(verb, rest)

    def end(self) -> None:
        """Drop all connections."""
        self.reads.set()
        for writer in self._writers:
            writer.transport.abort()

    async def _obey(self, verb: str, rest: list[str]) -> None:
        if verb == "PING" and self.answers_pings:
            self.say(b"PONG\r\n")
        elif verb == "SUB":
            self.subscriptions[rest[0]] = rest[-1]
        elif verb == "UNSUB" and self.before_unsub is not None:
            await self.before_unsub(rest[0])


@asynccontextmanager
async def fake_nats() -> AsyncIterator[FakeNats]:
    """Listen on a free port of 127.0.0.1."""
    fake = FakeNats()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # so that a writer soon notices
    listener.bind(("127.0.0.1", 0))
    fake.port = listener.getsockname()[1]
    server = await asyncio.start_server(fake.talk, sock=listener)
    try:
        yield fake
    finally:
        server.close()
        fake.end()
        await server.wait_closed()
