"""The stock parser, with a short way for the messages of which there are many."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from services.runtime.bus.wire import Arrival, Buffer, read_arrival

_AT_ONCE: Final = 20
"""After a pause of the bus hundreds of messages come at once: deadlines that pass meanwhile must not wait for all."""

Deliver = Callable[[Arrival, Buffer], bool]


class ShortParser(Parser):
    """Delivers whole messages at the head of the buffer; whatever else is there is the stock parser's, as before.

    Source: docs/load-testing.md, "What a query costs": before and after.
    """

    def __init__(self, client: Any, deliver: Deliver) -> None:
        """Take who delivers a message at once, or says that it is not delivered that way."""
        super().__init__(client)
        self._deliver = deliver

    def take(self, data: bytes) -> int:
        """Deliver what comes whole just now, unless something before it is still to be parsed; return its length."""
        if self.buf or self.state != AWAITING_CONTROL_LINE:
            return 0
        return self._deliver_whole_messages(data)[1]

    async def parse(self, data: bytes = b"") -> None:
        """Take what came from the server; of much that came at once, let others have their turn in between."""
        if self.state == AWAITING_CONTROL_LINE:
            self.buf += data
            while True:
                delivered, length = self._deliver_whole_messages(self.buf)
                del self.buf[:length]
                if delivered < _AT_ONCE:
                    break
                await asyncio.sleep(0)
            if not self.buf:
                return
            data = b""
        await super().parse(data)

    def _deliver_whole_messages(self, buffer: Buffer) -> tuple[int, int]:
        """Deliver some of those at its head; return how many, and their length."""
        at, end, delivered = 0, len(buffer), 0
        with suppress(ValueError, IndexError):  # malformed: the stock parser says so
            while at < end and delivered < _AT_ONCE:
                arrival = read_arrival(buffer, at)
                if arrival is None or not self._deliver(arrival, buffer):
                    break
                at = arrival.ends_at + 2
                delivered += 1
        return delivered, at
