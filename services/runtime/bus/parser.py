"""The stock parser, with a short way for the messages of which there are many."""

from collections.abc import Callable
from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from services.runtime.bus.wire import Arrival, read_arrival

Deliver = Callable[[Arrival, bytearray], bool]


class ShortParser(Parser):
    """Delivers whole messages at the head of the buffer; whatever else is there is the stock parser's, as before.

    Source: docs/load-testing.md says what the stock parser's regular expressions, and its wait per message, cost.
    """

    def __init__(self, client: Any, deliver: Deliver) -> None:
        """Take who delivers a message at once, or says that it is not delivered that way."""
        super().__init__(client)
        self._deliver = deliver

    async def parse(self, data: bytes = b"") -> None:
        """Take what came from the server."""
        if self.state == AWAITING_CONTROL_LINE:
            self.buf += data
            self._deliver_whole_messages()
            if not self.buf:
                return
            data = b""
        await super().parse(data)

    def _deliver_whole_messages(self) -> None:
        at, end = 0, len(self.buf)
        try:
            while at < end:
                arrival = read_arrival(self.buf, at)
                if arrival is None or not self._deliver(arrival, self.buf):
                    return
                at = arrival.ends_at + 2
        except (ValueError, IndexError):
            return  # malformed: the stock parser says so
        finally:
            del self.buf[:at]
