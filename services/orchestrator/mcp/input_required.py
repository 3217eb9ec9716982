"""`input_required` for clients that do not know it: each thing a server wants to know is asked of them as a request."""

import asyncio
from typing import Any, Final

import msgspec

from services.orchestrator.dispatch import Asked
from services.orchestrator.mcp.client_events import ClientEvents
from services.orchestrator.mcp.conversation import Say
from services.orchestrator.mcp.jsonrpc import INTERNAL_ERROR, RpcError
from services.runtime.outlines import decode_outline

MOST_ROUNDS: Final = 16
"""How often a server may ask back in one call."""

_CAPABILITY_OF: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
_REFUSED: Final = {"code": INTERNAL_ERROR, "message": "The client did not answer"}
_UNANSWERED: Final = "The client did not answer what the server asked"


class InputRequest(msgspec.Struct):
    """One thing that the server wants to know."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class InputRequired(msgspec.Struct, rename="camel"):
    """A result that is none yet."""

    result_type: str = "complete"
    input_requests: dict[str, InputRequest] = {}
    request_state: str | None = None


class _Response(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(InputRequired)
_request_decoder = msgspec.json.Decoder(InputRequest)
_response_decoder = msgspec.json.Decoder(_Response)


def input_required(result: bytes) -> InputRequired | None:
    """Return what the server wants to know before it goes on; None: this is the result."""
    if b"input_required" not in result:
        return None
    try:
        found = decode_outline(_decoder, result)
    except msgspec.DecodeError:
        return None
    return found if found.result_type == "input_required" else None


class Interview:
    """Asks one client."""

    def __init__(self, events: ClientEvents, caller: str, capabilities: dict[str, Any], say: Say) -> None:
        """Take whom.

        Args:
            events: bring its responses.
            caller: the id of the principal that answers.
            capabilities: of the client.
            say: tells it what is asked, on the stream of its own request.
        """
        self._events = events
        self._caller = caller
        self._capabilities = capabilities
        self._say = say
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def capabilities(self) -> str | None:
        """What the client can be asked, JSON; None: nothing."""
        return msgspec.json.encode(self._capabilities).decode() if self._capabilities else None

    async def responses(self, required: InputRequired) -> bytes:
        """Return what the client answers, as `inputResponses`.

        Raises:
            RpcError: it cannot, or does not.
        """
        asked = required.input_requests
        answers = await asyncio.gather(*map(self._response, asked.values()))
        return msgspec.json.encode(dict(zip(asked, map(msgspec.Raw, answers), strict=True)))

    def hear(self, asked: Asked) -> None:
        """Ask the client what a server of the handshake era wants to know while its call runs."""
        task = asyncio.create_task(self._pass_on(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Ask no more: the call is over."""
        for task in self._tasks:
            task.cancel()

    async def _pass_on(self, asked: Asked) -> None:
        try:
            result = await self._response(_request_decoder.decode(asked.request))
        except (RpcError, msgspec.DecodeError):
            answer: dict[str, Any] = {"error": _REFUSED}
        else:
            answer = {"result": msgspec.Raw(result)}
        await self._events.answer(asked, msgspec.json.encode(answer).decode())

    async def _response(self, request: InputRequest) -> bytes:
        if _CAPABILITY_OF.get(request.method) not in self._capabilities:
            raise RpcError(INTERNAL_ERROR, "The server asks for what the client cannot do")
        try:
            response = await self._events.ask(self._caller, request.method, bytes(request.params), self._say)
        except TimeoutError as error:
            raise RpcError(INTERNAL_ERROR, _UNANSWERED) from error
        result = bytes(_response_decoder.decode(response).result)
        if not result:
            raise RpcError(INTERNAL_ERROR, _UNANSWERED)
        return result
