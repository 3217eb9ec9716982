"""What a server of the handshake era asks of the client while a call runs: asked over the bus, answered by an order."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from bus_schemas.control import AnswerAsked

Tell = Callable[[str, bytes], Awaitable[None]]
"""Sends an ask, by its id, to whoever sent the call."""

UNANSWERED: Final = b'{"error":{"code":-32603,"message":"The client did not answer"}}'


class Asks:
    """Those that wait for their answer."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[bytes]] = {}

    async def ask(self, tell: Tell, longest_s: float, method: str, params: bytes) -> bytes:
        """Return the answer: a JSON object with `result` or `error`.

        Args:
            tell: sends it.
            longest_s: how long the answer is waited for, in seconds: what is left of the call.
            method: of the server's request.
            params: of it, a JSON object.
        """
        ask_id = secrets.token_urlsafe(16)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[ask_id] = answer
        try:
            await tell(ask_id, msgspec.json.encode({"method": method, "params": msgspec.Raw(params)}))
            async with asyncio.timeout(longest_s):
                return await answer
        except TimeoutError:
            return UNANSWERED
        finally:
            del self._asked[ask_id]

    def answer(self, order: AnswerAsked) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        answer = self._asked.get(order.ask_id)
        if answer is not None and not answer.done():
            answer.set_result(order.answer.encode())
