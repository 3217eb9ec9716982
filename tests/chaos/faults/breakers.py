"""An MCP server that hangs, answers garbage or answers too late: its breaker opens everywhere, and closes by itself."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import nats
from nats.aio.msg import Msg

from bus_schemas.breakers import BreakerChanged, BreakerState
from bus_schemas.subjects import breaker_event
from tests.chaos.fault import Fault, Scene
from tests.chaos.fickle_server import Mood
from tests.chaos.findings import Findings, Query
from tests.chaos.ground import FIRST, SECOND, THIRD, USUAL, Plan
from tests.support.fleet import record
from tests.support.waiting import until

THRESHOLD = 5
OPEN_S = 30.0
JITTER_S = 3.0
_BAD_S = 20.0
_SILENCE_S = USUAL.timeout_s + 4
"""Shorter than the timeout of a query: what a hung server had already read it begins when it goes on."""
_P99_RATIO = 1.5
_LEAST_P99_MS = 20.0
_TELL_S = 1.0
_ASK_EVERY_S = 0.25
"""So that the other replica does not meet five failures of its own in the time it has to hear of it."""
_SERVERS = (FIRST, SECOND, THIRD)
"""The alternate of a bad server takes all its queries; what others feel of it is measured at one that does not."""

_STEPS = {
    "opened after s": BreakerState.OPEN,
    "asked again after s": BreakerState.HALF_OPEN,
    "closed after s": BreakerState.CLOSED,
}

Do = Callable[[Scene], Awaitable[None]]


async def _hang(scene: Scene) -> None:
    scene.begin()
    scene.ground.servers[FIRST].pause()
    await scene.last(_SILENCE_S)
    scene.ground.servers[FIRST].resume()
    scene.end()


async def _answer(scene: Scene, *, mood: Mood, short_s: float) -> None:
    scene.begin()
    scene.ground.servers[FIRST].become(mood)
    await scene.last(_BAD_S, short=short_s)
    scene.ground.servers[FIRST].become("well")
    scene.end()


async def _until_closed(scene: Scene, *, do: Do) -> None:
    """Do it, wait for the breaker to close by itself, and note when it opened, when somebody probed, when it closed.

    A short run has no time for that, and forgets it.
    """
    async with _listening(scene) as said:
        await do(scene)
        if scene.is_short:
            await scene.load.calm(0.5, timeout_s=10)
        else:
            longest_s = OPEN_S + JITTER_S + 15
            await until(lambda: len(_moments(said, scene.began_at)) == len(_STEPS), timeout_s=longest_s)
            await scene.load.served_by(FIRST, FIRST, timeout_s=longest_s)
        scene.facts |= _moments(said, scene.began_at)


@asynccontextmanager
async def _listening(scene: Scene) -> AsyncIterator[list[BreakerChanged]]:
    """Give what is said of the breaker of the first server, as it is said."""
    said: list[BreakerChanged] = []

    async def hear(message: Msg) -> None:
        said.append(BreakerChanged.model_validate_json(message.data))

    client = await nats.connect(scene.ground.bus.url.split(","))
    try:
        await client.subscribe(breaker_event(FIRST), cb=hear)
        await client.flush()
        yield said
    finally:
        await client.close()


def _moments(said: Sequence[BreakerChanged], began_at: float) -> dict[str, float]:
    """Return how long each step took after the one before it, by the replicas' own clock, as far as they were taken."""
    moments: dict[str, float] = {}
    since = began_at
    for name, state in _STEPS.items():
        # An epoch is the moment of a change, in milliseconds.
        at = next((word.epoch / 1000 for word in said if word.state is state and word.epoch / 1000 >= since), None)
        if at is None:
            break
        moments[name] = at - since
        since = at
    return moments


def _opened_at(found: Findings) -> float:
    """When the breaker opened; infinitely late if it never did."""
    return found.began_at + found.facts.get("opened after s", math.inf)


def _turned_away(query: Query) -> bool:
    """Whether the query was kept from the bad server: answered by the alternate, or refused."""
    told = query.told
    return told is not None and (told.server == SECOND or told.code in {"circuit_open", "server_unavailable"})


def _failures(found: Findings) -> int:
    return sum(query.stream.server == FIRST for query in found.failed)


def _figures(found: Findings) -> Mapping[str, float]:
    return {
        "failures": float(_failures(found)),
        "a third server's p99 before, ms": found.p99_ms(THIRD, 0, found.began_at),
        "meanwhile, ms": found.p99_ms(THIRD, found.began_at, found.over_at),
    }


def _starts_at_first(found: Findings, *, sent_after: float) -> dict[str, float]:
    """When queries that were sent after that moment were started on the first server, whoever answered them then."""
    by_first = {query.sent.id for query in found.queries if query.told is not None and query.told.server == FIRST}
    processes = {line.pid for line in found.starts if line.id in by_first}
    later = {query.sent.id for query in found.queries if query.sent.at > sent_after}
    return {line.id: line.at for line in found.starts if line.pid in processes and line.id in later}


def _judge(found: Findings, *, rejoins: bool) -> Iterable[str]:
    """Judge a row with a bad server; its workers withdraw meanwhile and rejoin when it is well, or do not notice."""
    opened_at = _opened_at(found)
    if opened_at == math.inf:
        yield f"the breaker never opened: {_failures(found)} of the bad server's queries failed"
        return
    if failed := [query for query in found.failed if query.stream.server != FIRST]:
        yield f"{len(failed)} of the other servers failed"
    known_at = opened_at + _TELL_S
    started = _starts_at_first(found, sent_after=known_at)
    ends_at = min(opened_at + OPEN_S, found.over_at if rejoins else math.inf)
    reached = [
        query
        for query in found.queries
        if query.stream.server == FIRST
        and known_at < query.sent.at < ends_at
        and (not _turned_away(query) or started.get(query.sent.id, math.inf) < ends_at)
    ]
    if reached:
        yield f"{len(reached)} reached the bad server although the breaker was open"
    before = max(_LEAST_P99_MS, found.p99_ms(THIRD, 0, found.began_at))
    meanwhile = found.p99_ms(THIRD, found.began_at, found.over_at)
    if meanwhile > _P99_RATIO * before * found.patience:
        yield f"a third server's p99 went from {before:.0f} to {meanwhile:.0f} ms"
    yield from _judge_probe(found, started.values(), rejoins=rejoins)


def _judge_probe(found: Findings, starts: Iterable[float], *, rejoins: bool) -> Iterable[str]:
    """Judge how it closed, if there was time for that."""
    if "closed after s" not in found.facts:
        return
    asked_after_s = found.facts["asked again after s"]
    if asked_after_s > OPEN_S + JITTER_S + 1:
        yield f"asked again only after {asked_after_s:.1f} s"
    if asked_after_s < OPEN_S - 0.01 and not rejoins:  # both moments are whole milliseconds
        yield f"asked again after {asked_after_s:.1f} s already"
    closed_at = _opened_at(found) + asked_after_s + found.facts["closed after s"]
    # The probe itself may be a query that had waited elsewhere since before.
    if (calls := sum(start < closed_at for start in starts)) > 1:
        yield f"{calls} calls in the place of one probe"


async def _tell(scene: Scene) -> None:
    """Let one replica meet exactly as many failures as it takes, and look when the other knows."""
    scene.ground.servers[FIRST].become("garbage")
    scene.begin()
    failures = 0
    while await _reaches(scene, orchestrator=0):
        failures += 1
    scene.facts["failures"] = failures
    opened_at = time.monotonic()
    asked = 0
    while await _reaches(scene, orchestrator=1):
        asked += 1
        await anyio.sleep(_ASK_EVERY_S)
    scene.facts["the other knew after s"] = time.monotonic() - opened_at
    scene.facts["failures of the other"] = asked
    scene.ground.servers[FIRST].become("well")
    scene.end()


async def _reaches(scene: Scene, *, orchestrator: int) -> bool:
    """Whether a query reaches the bad server; else the alternate has answered, or it was refused."""
    answer = await scene.ground.fleet.ask_http(record(FIRST), orchestrator=orchestrator)
    return answer.status == 502


def _judge_tell(found: Findings) -> Iterable[str]:
    if found.facts["failures"] != THRESHOLD:
        yield f"it opened after {found.facts['failures']:.0f} failures"
    if found.facts["failures of the other"] >= THRESHOLD:
        yield "the other replica found it out for itself"
    if found.facts["the other knew after s"] > _TELL_S * found.patience:
        yield f"the other replica knew after {found.facts['the other knew after s']:.1f} s"
    if found.total.refused:
        yield f"refused of the other server: {dict(found.total.refused)}"


def _bad_server(name: str, what: str, do: Do, *, rejoins: bool = False) -> Fault:
    return Fault(
        name=name,
        what=what,
        protection="`orchestrator/breaker/`; `routing.py`: alternates",
        do=partial(_until_closed, do=do),
        judge=partial(_judge, rejoins=rejoins),
        figures=_figures,
        plan=Plan(servers=_SERVERS),
        servers=_SERVERS,
        back_within_s=OPEN_S + JITTER_S,
        forgets=True,
        calm_s=20.0,
    )


FAULTS = (
    _bad_server("server-hung", "the MCP server: hung", _hang, rejoins=True),
    _bad_server("server-garbage", "the MCP server: answers with garbage", partial(_answer, mood="garbage", short_s=3)),
    _bad_server(
        "server-late",
        "the MCP server: answers after `timeout_s`",
        partial(_answer, mood="late", short_s=_SILENCE_S),
    ),
    Fault(
        name="breaker-told",
        what="a replica opens a breaker",
        protection="`orchestrator/breaker/`: it tells the others",
        do=_tell,
        judge=_judge_tell,
        servers=(SECOND,),
        forgets=True,
    ),
)
