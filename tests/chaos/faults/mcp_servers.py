"""An MCP server that dies and comes back."""

import time
from collections.abc import Iterable

import anyio

from tests.chaos.fault import Fault, Scene
from tests.chaos.findings import Findings
from tests.chaos.ground import FIRST, SECOND

WITHDRAWN_S = 1.0
"""Goal: from the death of a server until no query fails because of it."""

_GIVE_UP_S = 6.0


async def _kill(scene: Scene) -> None:
    server = scene.ground.servers[FIRST]
    scene.begin()
    await server.kill()
    with anyio.move_on_after(_GIVE_UP_S):
        await scene.ground.wait_away(FIRST)
        scene.facts["withdrawn after s"] = time.time() - scene.began_at
    await scene.last(5, short=2)
    await server.restart()
    scene.end()


def _judge_kill(found: Findings) -> Iterable[str]:
    if found.facts.get("withdrawn after s", _GIVE_UP_S) > WITHDRAWN_S * found.patience:
        yield "its workers did not withdraw"
    away = [
        query
        for query in found.queries
        if query.stream.server == FIRST
        and query.told is not None
        and found.began_at + WITHDRAWN_S < query.sent.at < found.over_at
    ]
    if not any(query.told is not None and query.told.server == SECOND for query in away):
        yield "the alternate answered nothing"
    if failed := [query for query in away if query.has_failed]:
        yield f"{len(failed)} failed although the alternate could answer"
    if failed := [query for query in found.failed if query.stream.server == SECOND]:
        yield f"{len(failed)} of the other server failed"


FAULTS = (
    Fault(
        name="server-killed",
        what="the MCP server: killed once, and started again",
        protection="`worker/presence.py`, `mcp/keeper.py`: withdraw, open again; `routing.py`: alternates",
        do=_kill,
        judge=_judge_kill,
        back_within_s=2.0,
    ),
)
