"""A store that dies, freezes, is flushed or started again: no query fails."""

from collections.abc import Iterable

import redis.asyncio as redis

from tests.chaos.fault import Fault, Scene, none_refused
from tests.chaos.findings import Findings

_SLOW_MS = 1000
_FEW = 0.2
"""The share of queries that may be slow for other reasons: the machine may be busy."""


async def _kill(scene: Scene) -> None:
    scene.begin()
    await scene.ground.store.kill()
    await scene.last(5, short=1.5)
    await scene.ground.store.restart()
    scene.end()


async def _freeze(scene: Scene) -> None:
    scene.begin()
    scene.ground.store.pause()
    await scene.last(5, short=4)
    scene.ground.store.resume()
    scene.end()


async def _flush(scene: Scene) -> None:
    scene.begin()
    async with redis.Redis.from_url(scene.ground.store.url) as client:
        await client.flushall()
    scene.end()


async def _restart(scene: Scene) -> None:
    scene.begin()
    await scene.ground.store.restart()
    scene.end()


def _not_waited_for(found: Findings) -> Iterable[str]:
    yield from none_refused(found)
    asked = [query for query in found.queries if found.began_at <= query.sent.at < found.over_at]
    looked_up = [query.told.ms for query in asked if query.stream.is_declared and query.told is not None]
    slow = sum(ms > _SLOW_MS for ms in looked_up)
    if slow > _FEW * len(looked_up):
        yield f"{slow} of {len(looked_up)} queries waited for the store"


_SHORT_WAITS = "`runtime/store/client.py`: 0.1 s, once, then it is not asked"

FAULTS = (
    Fault(
        name="store-killed",
        what="the store: killed, and started again",
        protection="`runtime/store/client.py`: no store is a miss",
        do=_kill,
        judge=none_refused,
    ),
    Fault(
        name="store-frozen",
        what="the store: SIGSTOP",
        protection=_SHORT_WAITS,
        do=_freeze,
        judge=_not_waited_for,
    ),
    Fault(
        name="store-flushed",
        what="the store: flushed",
        protection="`cache/store.py`: an entry that has gone is a miss",
        do=_flush,
        judge=none_refused,
    ),
    Fault(
        name="store-restarted",
        what="the store: restarted",
        protection="`runtime/store/connection.py`: connections that broke are made anew",
        do=_restart,
        judge=none_refused,
    ),
)
