"""The stock parser, with a short way for the messages of which there are many."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from services.runtime.bus.wire import Arrival, read_arrival

_AT_ONCE: Final = 20
"""After a pause of the bus hundreds of messages come at once: deadlines that pass meanwhile must not wait for all."""

Deliver = Callable[[Arrival, bytearray], bool]


class ShortParser(Parser):
    """Delivers whole messages at the head of the buffer; whatever else is there is the stock parser's, as before.

    Source: docs/load-testing.md, "What a query costs": before and after.
    """

    def __init__(self, client: Any, deliver: Deliver) -> None:
        """Take who delivers a message at once, or says that it is not delivered that way."""
        super().__init__(client)
        self._deliver = deliver

    async def parse(self, data: bytes = b"") -> None:
        """Take what came from the server; of much that came at once, let others have their turn in between."""
        if self.state == AWAITING_CONTROL_LINE:
            self.buf += data
            while self._deliver_whole_messages() == _AT_ONCE:
                await asyncio.sleep(0)
            if not self.buf:
                return
            data = b""
        await super().parse(data)

    def _deliver_whole_messages(self) -> int:
        """Deliver some; return how many."""
        at, end, delivered = 0, len(self.buf), 0
        try:
            while at < end and delivered < _AT_ONCE:
                arrival = read_arrival(self.buf, at)
                if arrival is None or not self._deliver(arrival, self.buf):
                    break
                at = arrival.ends_at + 2
                delivered += 1
        except (ValueError, IndexError):
            pass  # malformed: the stock parser says so
        finally:
            del self.buf[:at]
        return delivered
