"""Workers of the release before, beside those of today."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.chaos.fault import Fault, Scene, none_refused
from tests.chaos.findings import Findings
from tests.chaos.ground import FIRST, SECOND, Plan
from tests.chaos.release_before import CUT
from tests.support.fleet import Worker

_BESIDE_S, _BESIDE_SHORT_S = 4.0, 1.0
_ANSWERED, _CUT = "results of the release before", "of its messages cut"


async def _mix(scene: Scene) -> None:
    """Let the older go before the newer, then the newer before the older, and for a while the older serve alone."""
    ground = scene.ground
    newest = ground.youngest_worker(FIRST)
    scene.begin()
    async with _older_worker(scene, FIRST):
        await ground.let_worker_leave(newest)
        await scene.last(_BESIDE_S, short=_BESIDE_SHORT_S)
    await ground.start_worker(FIRST)
    newer = [worker for worker in ground.fleet.workers if worker.server == SECOND]
    async with _older_worker(scene, SECOND):
        await scene.last(_BESIDE_S, short=_BESIDE_SHORT_S)
        for worker in newer:
            await ground.let_worker_leave(worker)
        await scene.last(_BESIDE_S, short=_BESIDE_SHORT_S)
        for _ in newer:
            await ground.start_worker(SECOND)
        await ground.fleet.wait_connected()
    scene.end()


@asynccontextmanager
async def _older_worker(scene: Scene, server: str) -> AsyncIterator[None]:
    """Let a worker of the release before serve; it leaves in the end, and what it says of itself becomes facts."""
    ground = scene.ground
    process = await ground.fleet.start_process(
        "tests.chaos.release_before", server, env={"BUSBAR_NATS_URL": ground.bus.worker_url}
    )
    worker = Worker(server, ground.youngest_worker(server).version, process)
    ground.fleet.workers.append(worker)
    try:
        await ground.fleet.wait_connected()
        yield
        await ground.let_worker_leave(worker)
    finally:
        await process.kill()  # no row after this one is to meet it
    counted = json.loads(process.stdout().splitlines()[-1])
    for fact, name in ((_ANSWERED, "result"), (_CUT, CUT)):
        scene.facts[fact] = scene.facts.get(fact, 0) + counted.get(name, 0)


def _judge(found: Findings) -> Iterable[str]:
    if not found.facts[_ANSWERED]:
        yield "the workers of the release before answered nothing: the row shows nothing"
    yield from none_refused(found)


FAULTS = (
    Fault(
        name="release-before",
        what="workers of release N−1 beside N: each leaves before the other, and N−1 serves alone",
        protection="`bus_schemas/`: readers ignore what they do not know, writers leave nothing out",
        do=_mix,
        judge=_judge,
        figures=lambda found: found.facts,
        # All workers of a server are replaced: on a ground whose eldest no long run watches.
        plan=Plan(nodes=3),
    ),
)
