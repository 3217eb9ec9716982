"""uvicorn's cycle of a request and its answer, in which head and body of a small answer are written in one step."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_LARGEST_BYTES: Final = 64 * 1024
"""Of a body; whoever writes more must find out whether the caller keeps up."""
_CLOSE: Final = (b"connection", b"close")
_BLOCKS_REMEMBERED: Final = 64


class ShortCycle(RequestResponseCycle):
    """See the module."""

    _start: Message | None = None
    """The head of an answer whose body follows at once."""

    def begin_anew(self, default_headers: list[tuple[bytes, bytes]], on_response: Callable[[], None]) -> None:
        """Be the cycle of the next request on the same connection."""
        self.default_headers = default_headers
        self.on_response = on_response
        self.keep_alive = True
        self.response_started = self.response_complete = False
        self.chunked_encoding = None
        self._start = None

    async def send(self, message: Any) -> None:
        """See ASGI."""
        start, self._start = self._start, None
        if message["type"] == "http.response.start":
            if not self.response_started and _announces_body(message):
                self._start = message
                return
        elif start is not None:
            is_whole = not message.get("more_body")
            if is_whole and self.write_whole(start["status"], start["headers"], message.get("body", b"")):
                return
            await super().send(cast("Any", start))
        await super().send(message)

    def write_whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write a whole answer if it need not wait for its caller; else return False, and write nothing."""
        if len(body) > _LARGEST_BYTES or self.flow.write_paused or self.disconnected:
            return False
        length = (b"content-length", b"%d" % len(body))
        others = [header for header in headers if header != length]
        keeps_alive = self.keep_alive and _CLOSE not in others
        if not keeps_alive and _CLOSE not in others:
            others.append(_CLOSE)
        block = _block((*self.default_headers, *others))
        if block is None or length not in headers:
            return False
        self.response_started = self.response_complete = True
        self.transport.write(b"%bcontent-length: %b\r\n%b\r\n%b" % (STATUS_LINE[status], length[1], block, body))
        self.message_event.set()
        if not keeps_alive:
            self.transport.close()
        self.on_response()
        return True


@lru_cache(maxsize=_BLOCKS_REMEMBERED)
def _block(headers: tuple[tuple[bytes, bytes], ...]) -> bytes | None:
    """Return the lines of these headers; most answers of one second have the same. None: they would be others."""
    block = b"".join([b"%b: %b\r\n" % header for header in headers])
    is_sound = block.count(b"\r") == block.count(b"\n") == len(headers) and b"\0" not in block
    return block if is_sound else None


def _announces_body(start: Message) -> bool:
    """Whether an answer says how long it is."""
    names = [name for name, _ in start.get("headers", ())]
    return b"content-length" in names and b"transfer-encoding" not in names
