"""The nats-py client with the faults mended that lose messages or hang (nats-py is pinned to 2.16 for this)."""

import asyncio
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from services.runtime.bus.pace import WritePace
from services.runtime.bus.parser import ShortParser
from services.runtime.bus.transport import EagerTransport
from services.runtime.bus.wire import Arrival, Buffer, publish_command, read_headers
from services.runtime.nkeys import UserNkey

log = logging.getLogger(__name__)

Take = Callable[[Msg], None]
_LARGE_BYTES: Final = 64 * 1024
"""What begins with more than this waits for nothing else."""


class HardenedClient(Client):
    """A `nats.aio.client.Client` whose flush is a fence, whose read loop survives, and whose waits end.

    Source:
        The faults are shown in tests/integration/test_bus_client.py, each against the stock client too.
    """

    def __init__(self) -> None:
        """Begin without a connection."""
        super().__init__()
        self._takes: dict[int, Take] = {}
        self._ps = self._parser = ShortParser(self, self._deliver)
        self._transport = EagerTransport(self._take)
        self._write_is_due = False
        self._pace = WritePace()

    def take_at_once(self, subscription: int, take: Take) -> None:
        """Hand the messages of a subscription to `take` where they are read, instead of a queue and a task for each.

        It must not wait. When a fence returns, it has had all that the server sent before.
        """
        self._takes[subscription] = take

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._takes.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    def _take(self, data: bytes) -> int:
        """Take messages at the head of what has come; of a connection that is given up, nothing is read any more."""
        return self._parser.take(data) if self.is_connected else 0

    def _deliver(self, arrival: Arrival, buffer: Buffer) -> bool:
        """Hand over a message whose subscription takes it at once."""
        take = self._takes.get(arrival.sid)
        if take is None:
            return False
        body = bytes(buffer[arrival.body_at : arrival.ends_at])
        headers = None
        if arrival.headers_at != arrival.body_at:
            headers = read_headers(bytes(buffer[arrival.headers_at : arrival.body_at]))
        self._hand(take, Msg(self, arrival.subject, arrival.reply, body, headers, _sid=arrival.sid))
        return True

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Deliver what the stock parser has put together: a large message, or one that came in two pieces."""
        take = self._takes.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        words = subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace")
        self._hand(take, Msg(self, *words, data, read_headers(headers) if headers else None, _sid=sid))

    def _hand(self, take: Take, message: Msg) -> None:
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(message.data)
        try:
            take(message)
        except Exception:
            log.exception("a message could not be taken")

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish at once if that can be; the stock client does what it alone does.

        It says what is wrong, and waits while the server does not read.
        """
        if not self.publish_at_once(subject, payload, reply, headers):
            await super().publish(subject, payload, reply, dict(headers) if headers else None)

    def publish_at_once(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> bool:
        """Publish: what comes in one turn of the event loop, or in the time that `WritePace` gives it, is one write.

        The stock client checks each part with a regular expression, and wakes a task that writes. What was published
        in the moment before the connection is lost may go out once there is another; its deadline travels with it.

        Returns:
            False: nothing was published; it would have to wait, or something is wrong with the message.

        Raises:
            MaxPayloadError: it is too large.
        """
        command = publish_command(subject, payload, reply, headers) if self.is_connected else None
        is_waiting = self._pending_data_size + len(payload) > self._max_pending_size
        if command is None or is_waiting or self.is_draining_pubs:
            return False
        if command.size > self._max_payload:
            raise errors.MaxPayloadError
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        self._pending.append(command.data)
        self._pending_data_size += len(command.data)
        wait_s = self._pace.wait_s(time.monotonic())
        if not self._write_is_due:
            self._write_is_due = True
            if self._pending_data_size > _LARGE_BYTES:
                wait_s = 0.0
            asyncio.get_running_loop().call_later(wait_s, self._write)
        return True

    def _write(self) -> None:
        self._write_is_due = False
        if not self._pending or not self.is_connected or not isinstance(self._transport, TcpTransport):
            return
        writer = self._transport._io_writer
        if writer is None or writer.transport.is_closing():
            return
        if writer.transport.get_write_buffer_size():
            # The server reads slowly: the flusher waits for it.
            if self._flush_queue is not None and self._flush_queue.empty():
                self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())
            return
        writer.writelines(self._pending)
        self._pending = []
        self._pending_data_size = 0

    async def flush(self, timeout: int = 5) -> None:
        """Return when the server has taken everything published before.

        The stock client writes its PING to the socket ahead of what is still buffered, so that its PONG proves
        nothing: a drain then drops the requests that the server sent before it read the UNSUB. And where its read
        loop has ended it returns without any proof.

        Raises:
            StaleConnectionError: nothing is read any more, so no answer can come.
        """
        if self.is_connected and (self._reading_task is None or self._reading_task.done()):
            raise errors.StaleConnectionError
        if self.is_connected and self._pending and self._transport is not None:
            self._transport.writelines(self._pending[:])
            self._pending = []
            self._pending_data_size = 0
        await super().flush(timeout)

    async def _process_pong(self) -> None:
        """Take a PONG, also one whose waiter has given up.

        The stock client sets the result of a cancelled future there; the error ends its read loop while
        `is_connected` stays true, and nothing is received any more.
        """
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pongs_received += 1
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        """Count the headers towards max_payload.

        The server does; where the stock client does not, the server's protest closes the connection for good.
        """
        if headers is not None:
            # Name, ": ", value and CRLF of each; "NATS/1.0", its CRLF and the closing CRLF around them.
            header_bytes = 12 + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
            if payload_size + header_bytes > self._max_payload:
                raise errors.MaxPayloadError
        await super()._send_publish(subject, reply, payload, payload_size, headers)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """Let a cancellation through.

        The stock client swallows one that comes while a full buffer is written: a timeout around a publish is then
        without effect, and a cancelled task goes on.
        """
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task is not None else 0
        flushed = await super()._flush_pending(force_flush)
        if task is not None and task.cancelling() > cancelled_before:
            raise asyncio.CancelledError
        return flushed

    async def _attempt_reconnect(self) -> None:
        """Drop the old connection first, and let whoever waits for its PONGs know.

        The stock client closes it politely: it waits, without a limit, until a server that does not read any more
        has read all that was written. And it forgets who waits, until their time is up.
        """
        self.abort()
        for waiter in self._pongs:
            if not waiter.done():
                waiter.set_exception(errors.StaleConnectionError())
                waiter.exception()  # nobody need fetch it: a PING of the client's own has no waiter
        await super()._attempt_reconnect()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Know each server of a cluster once, and with the credentials of the one that told of it.

        A server tells of the others without credentials. The stock client takes one that it knows with a password for
        another server, adds it again without, and is then turned away by it, for good.
        """
        known = {server.uri.netloc.rpartition("@")[2] for server in self._server_pool}
        others = [url for url in info.get("connect_urls") or () if url not in known]
        await super()._process_info({**info, "connect_urls": others}, initial_connection)
        credentials, at, _ = self._current_server.uri.netloc.rpartition("@") if self._current_server else ("", "", "")
        for server in self._server_pool:
            if server.discovered and at and "@" not in server.uri.netloc:
                server.uri = server.uri._replace(netloc=f"{credentials}@{server.uri.netloc}")

    def _setup_nkeys_seed_connect(self) -> None:
        """Answer the server's challenge.

        The stock client wants a package for that which comes as source only, and which nobody else here needs.
        """
        user = UserNkey(self._nkeys_seed_str or "")
        self._public_nkey = user.public_key
        self._signature_cb = lambda nonce: b64encode(user.sign(nonce.encode()))

    def abort(self) -> None:
        """Drop the TCP connection at once, with what is not yet on the wire."""
        if isinstance(self._transport, TcpTransport) and self._transport._io_writer is not None:
            self._transport._io_writer.transport.abort()
