"""Answers to what a server asks of its client: a ping is ours to answer, all else the caller's, if it can be asked."""

from services.worker.mcp.messages import Message, encode_answer, encode_response
from services.worker.mcp.session import Hearing


async def answer(request: Message, hearing: Hearing) -> bytes:
    """Return the response to a request of the server's, which belongs to the call that `hearing` is of."""
    if hearing.ask is None or request.method is None or request.method == "ping":
        return encode_answer(request)
    return encode_response(request, await hearing.ask(request.method, bytes(request.params) or b"{}"))
