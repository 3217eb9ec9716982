"""Workers and orchestrators that leave or die."""

import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import anyio
import httpx

from tests.chaos.fault import Fault, Scene, none_refused
from tests.chaos.findings import Findings, Query
from tests.chaos.ground import FIRST, PROPAGATION_S, SECOND
from tests.support.fleet import record

_REPLACED = 3
_LONG_CALLS = 10
_LONG_MS = 3500
"""Longer than a leaving orchestrator listens."""
_TAKEN_S = 0.3
"""Until calls that were sent are taken."""
_LEAVE_S = 20.0
_LEFT_S = 5.0
"""With so much of its time left when its worker dies, an idempotent call is answered: three heartbeats and a call."""


async def _replace_workers(scene: Scene) -> None:
    scene.begin()
    for server in (FIRST, SECOND, FIRST)[:_REPLACED]:
        await scene.ground.let_worker_leave(scene.ground.youngest_worker(server))
        await scene.ground.start_worker(server)
        await scene.ground.fleet.wait_connected()
    scene.end()


async def _kill_worker(scene: Scene) -> None:
    victim = scene.ground.youngest_worker(SECOND)
    scene.begin()
    await victim.process.kill()
    # As a supervisor does, at once the first time; the dead are found by their silence meanwhile.
    scene.ground.fleet.workers.remove(victim)
    await scene.ground.start_worker(SECOND)
    await scene.last(8, short=4.5)  # longer than it takes to miss three heartbeats
    await scene.ground.fleet.wait_connected()


def _judge_kill(found: Findings) -> Iterable[str]:
    failed = list(found.failed)
    if not failed:
        yield "the worker died with nothing in flight: the row shows nothing"
    if wrong := [query for query in failed if query.told is None or query.told.executed != "maybe"]:
        yield f"{len(wrong)} failed otherwise than as `maybe`"
    if waited := [query for query in failed if query.told is not None and query.told.code == "timeout"]:
        yield f"{len(waited)} were told at their deadline what was known after three heartbeats"
    if not any(query.has_failed or _is_sent_again(query) for query in _declared_with_time_left(found)):
        yield "the worker died with no idempotent call in flight that had 5 s left: the row shows nothing of those"
    if unanswered := [query for query in _declared_with_time_left(found) if query.has_failed]:
        yield f"{len(unanswered)} idempotent calls with 5 s left were not answered"
    in_flight = {query.sent.id for query in _in_flight(found)}
    if others := [query for query in failed if query.sent.id not in in_flight]:
        yield f"{len(others)} failed that were not in flight on the worker"


def _figures_of_kill(found: Findings) -> Mapping[str, float]:
    lost_with_it = [query for query in _in_flight(found) if query.has_failed or _is_sent_again(query)]
    return {
        "calls it held": len(lost_with_it),
        "idempotent with 5 s left": sum(query in lost_with_it for query in _declared_with_time_left(found)),
        "answered by another": sum(map(_is_sent_again, lost_with_it)),
    }


def _in_flight(found: Findings) -> Sequence[Query]:
    """The queries to the worker's server that were under way when it died, or sent before NATS knew."""
    return [
        query
        for query in found.queries
        if query.stream.server == SECOND
        and query.sent.at <= found.began_at + 0.1
        and (query.told is None or query.told.at >= found.began_at)
    ]


def _declared_with_time_left(found: Findings) -> Sequence[Query]:
    latest_s = found.deadline_s - _LEFT_S
    return [
        query for query in _in_flight(found) if query.stream.is_declared and found.began_at - query.sent.at <= latest_s
    ]


def _is_sent_again(query: Query) -> bool:
    """Whether the call was answered, and not by the first worker that had it."""
    return query.told is not None and not query.has_failed and (query.told.attempts or 0) > 1


async def _let_orchestrator_leave(scene: Scene) -> None:
    leaving, number = scene.ground.orchestrators[-1], len(scene.ground.orchestrators) - 1
    statuses: list[int] = []

    async def ask_at_length() -> None:
        with suppress(httpx.HTTPError):  # cut off: it counts as not answered
            answer = await scene.ground.fleet.ask_http(record(SECOND, ms=_LONG_MS), orchestrator=number)
            statuses.append(answer.status)

    async with anyio.create_task_group() as asking:
        for _ in range(_LONG_CALLS):
            asking.start_soon(ask_at_length)
        await anyio.sleep(_TAKEN_S)
        scene.begin()
        leaving.process.signal(signal.SIGTERM)
        scene.facts["announced"] = await _announces(scene, orchestrator=number)
    scene.facts["long calls answered"] = statuses.count(200)
    scene.facts["status"] = await leaving.process.wait(timeout_s=_LEAVE_S)


async def _announces(scene: Scene, *, orchestrator: int) -> bool:
    """Whether it answers, and says meanwhile that it is leaving."""
    with anyio.move_on_after(PROPAGATION_S):
        while True:
            try:
                answer = await scene.ground.fleet.ask_http(record(SECOND), orchestrator=orchestrator)
            except httpx.HTTPError:
                return False
            if answer.headers.get("connection") == "close":
                return answer.status == 200
            await anyio.sleep(0.02)
    return False


def _judge_leaving(found: Findings) -> Iterable[str]:
    if found.facts["status"] != 0:
        yield f"the orchestrator left with status {found.facts['status']:.0f}"
    if not found.facts["announced"]:
        yield "the orchestrator did not announce that it leaves"
    if found.facts["long calls answered"] != _LONG_CALLS:
        yield f"of {_LONG_CALLS} calls that it had taken {found.facts['long calls answered']:.0f} were answered"
    yield from none_refused(found)


FAULTS = (
    Fault(
        name="worker-leaves",
        what="one of two workers: SIGTERM, three times, each after the last has been replaced",
        protection="`worker/presence.py`: announce, fence, finish what is in flight",
        do=_replace_workers,
        judge=none_refused,
    ),
    Fault(
        name="worker-killed",
        what="one of two workers: kill -9",
        protection="`dispatch.py`: the calls of a silent worker end with it",
        do=_kill_worker,
        judge=_judge_kill,
        figures=_figures_of_kill,
        ms=400,  # so that the worker holds several of each kind
    ),
    Fault(
        name="orchestrator-leaves",
        what="one of two orchestrators: SIGTERM under keep-alive load",
        protection="`runtime/serving.py`: announce, take what waits, finish",
        do=_let_orchestrator_leave,
        judge=_judge_leaving,
    ),
)
