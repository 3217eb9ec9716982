"""Whether a way gives the right answer at all: asked once, before there is any load."""

import anyio
import httpx

from tests.bench.ways import REQUEST_ID, Way

_PATIENCE_S = 30.0
_PAUSE_S = 0.2


class WrongAnswerError(Exception):
    """A way does not lead to the server. Its text holds what was answered instead."""


async def check(way: Way) -> None:
    """Return when the way has led to the server and back; a gateway may still be looking for it at first.

    Raises:
        WrongAnswerError: it has not for thirty seconds.
    """
    body = way.body.replace(REQUEST_ID.encode(), b"1")
    told = "nothing"
    async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False, headers=dict(way.headers)) as client:
        with anyio.move_on_after(_PATIENCE_S):
            while True:
                answer = await client.post(way.url, content=body)
                if answer.status_code == 200 and way.expected in answer.text:
                    return
                told = f"{answer.status_code} {answer.text[:200]}"
                await anyio.sleep(_PAUSE_S)
    raise WrongAnswerError(f"{way.name}: {told}")
