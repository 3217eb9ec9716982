"""An MCP server that hangs, answers garbage or answers too late: its breaker opens everywhere, and closes by itself."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import anyio

from tests.chaos.fault import Fault, Scene
from tests.chaos.fickle_server import Mood
from tests.chaos.findings import Findings, Query
from tests.chaos.ground import FIRST, SECOND, USUAL
from tests.support.fleet import record

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


async def _hang(scene: Scene) -> None:
    scene.begin()
    scene.ground.servers[FIRST].pause()
    await scene.last(_SILENCE_S)
    scene.ground.servers[FIRST].resume()
    await _recover(scene)


async def _answer(scene: Scene, *, mood: Mood, short_s: float) -> None:
    scene.begin()
    scene.ground.servers[FIRST].become(mood)
    await scene.last(_BAD_S, short=short_s)
    scene.ground.servers[FIRST].become("well")
    await _recover(scene)


async def _recover(scene: Scene) -> None:
    """Wait for the breaker to close by itself; a short run has no time for that, and forgets it."""
    scene.end()
    if scene.is_short:
        await scene.load.calm(0.5, timeout_s=10)
        return
    await scene.load.served_by(FIRST, FIRST, timeout_s=OPEN_S + JITTER_S + 15)
    scene.facts["closed by itself"] = 1


def _turned_away(query: Query) -> bool:
    """Whether the query was kept from the bad server: answered by the alternate, or refused."""
    told = query.told
    return told is not None and (told.server == SECOND or told.code in {"circuit_open", "server_unavailable"})


def _opened_at(found: Findings) -> float | None:
    """When the first query was sent from which on, for a second, every one was kept from the bad server.

    Single ones may go to the alternate before: one that is full does not make its callers wait either.
    """
    of_first = sorted((q for q in found.queries if q.stream.server == FIRST), key=lambda query: query.sent.at)
    since: float | None = None
    for query in of_first:
        if query.sent.at < found.began_at:
            continue
        if not _turned_away(query):
            since = None
        elif since is None:
            since = query.sent.at
        elif query.sent.at - since >= _TELL_S:
            return since
    return None


def _figures(found: Findings) -> Mapping[str, float]:
    opened_at = _opened_at(found)
    if opened_at is None:
        return {}
    figures = {
        "failures before it opened": float(sum(q.stream.server == FIRST for q in found.failed)),
        "opened after s": opened_at - found.began_at,
        "other server's p99 before, ms": found.p99_ms(SECOND, 0, found.began_at),
        "meanwhile, ms": found.p99_ms(SECOND, found.began_at, found.over_at),
    }
    if probes := _starts_since(found, opened_at + _TELL_S):
        figures["asked again after s"] = probes[0] - opened_at
    return figures


def _starts_since(found: Findings, moment: float) -> list[float]:
    """When calls that were sent after `moment` were started on the bad server, in order."""
    reached = {
        query.sent.id
        for query in found.queries
        if query.stream.server == FIRST and not _turned_away(query) and query.sent.at > moment
    }
    return sorted(line.at for line in found.starts if line.id in reached)


def _judge(found: Findings) -> Iterable[str]:
    opened_at = _opened_at(found)
    if opened_at is None:
        yield "the breaker never opened"
        return
    if failed := [query for query in found.failed if query.stream.server == SECOND]:
        yield f"{len(failed)} of the other server failed"
    reached = [
        query
        for query in found.queries
        if query.stream.server == FIRST
        and not _turned_away(query)
        and opened_at + _TELL_S < query.sent.at < min(found.over_at, opened_at + OPEN_S)
    ]
    if reached:
        yield f"{len(reached)} reached the bad server although the breaker was open"
    before = max(_LEAST_P99_MS, found.p99_ms(SECOND, 0, found.began_at))
    meanwhile = found.p99_ms(SECOND, found.began_at, found.over_at)
    if meanwhile > _P99_RATIO * before * found.patience:
        yield f"the other server's p99 went from {before:.0f} to {meanwhile:.0f} ms"
    if "closed by itself" in found.facts:
        yield from _judge_probe(found, opened_at)


def _judge_probe(found: Findings, opened_at: float) -> Iterable[str]:
    probe, *others = _starts_since(found, opened_at + _TELL_S)
    if probe > opened_at + OPEN_S + JITTER_S + 1:
        yield f"asked again only after {probe - opened_at:.1f} s"
    if any(start < probe + 0.04 for start in others):  # a call takes 50 ms
        yield "more than one probe at once"


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


def _bad_server(name: str, what: str, do: Callable[[Scene], Awaitable[None]]) -> Fault:
    return Fault(
        name=name,
        what=what,
        protection="`orchestrator/breaker/`; `routing.py`: alternates",
        do=do,
        judge=_judge,
        figures=_figures,
        back_within_s=OPEN_S + JITTER_S,
        forgets=True,
    )


FAULTS = (
    _bad_server("server-hung", "the MCP server: hung", _hang),
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
