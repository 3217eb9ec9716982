"""What a row is: a fault, which protection stands against it, and what must hold besides the promises of every row."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import anyio

from tests.chaos.findings import Findings
from tests.chaos.ground import FIRST, SECOND, USUAL, Ground, Plan
from tests.chaos.load_process import LoadProcess
from tests.chaos.senders import NO_REPLY

SHORT_RATE = 100.0
"""Queries a second in a short run, which may share its machine."""


@dataclass(slots=True)
class Scene:
    """One fault while it happens, under load."""

    ground: Ground
    load: LoadProcess
    is_short: bool
    began_at: float = 0.0
    over_at: float = 0.0
    facts: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Say that the fault is done now."""
        self.began_at = self.over_at = time.time()

    def end(self) -> None:
        """Say that what it broke is back."""
        self.over_at = time.time()

    async def last(self, seconds: float, *, short: float | None = None) -> None:
        """Let the fault last for so long under load; `short` in a short run."""
        await anyio.sleep(short if self.is_short and short is not None else seconds)


Judge = Callable[[Findings], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table."""

    name: str
    what: str
    """In the table's words."""
    protection: str
    """What stands against it, by file."""
    do: Callable[[Scene], Awaitable[None]]
    judge: Judge
    """Yields what is wrong, beside the promises of every row."""
    figures: Callable[[Findings], Mapping[str, float]] = lambda _: {}
    """More figures for the table."""
    prepare: Callable[[Ground], Awaitable[Mapping[str, float]]] | None = None
    """Measures something before there is load."""
    plan: Plan = USUAL
    servers: tuple[str, ...] = (FIRST, SECOND)
    """Which the load asks."""
    rate: float = 200
    """Queries a second; a short run sends `SHORT_RATE`."""
    ms: int = 50
    """How long each call takes."""
    timeout_ms: int = 10_000
    back_within_s: float = 5.0
    """Goal: no query that is sent later than this after the end of the fault fails."""
    breaks_bus: bool = False
    """Whether a message may be lost on the bus: a caller on it may then hear nothing until its own clock says so."""
    forgets: bool = False
    """Whether a short run leaves behind what only time heals, so that the orchestrators are replaced after it."""
    is_steady: bool = True
    """Whether service is whole before the fault and after it; a row that asks for too much has none of that."""
    calm_s: float = 5.0
    """How long it is whole before and after, in a full run; a p99 of before needs more than a few hundred queries."""


def promises(fault: Fault, found: Findings) -> Iterable[str]:
    """Yield what a row has broken of the promises that hold in every row."""
    if found.total.lost:
        yield f"{len(found.total.lost)} lost: {found.total.lost[:3]}"
    if found.undeclared.repeated:
        yield f"{len(found.undeclared.repeated)} run twice: {found.undeclared.repeated[:3]}"
    if found.total.ran_after_no:
        yield f"{len(found.total.ran_after_no)} ran although told `executed: no`: {found.total.ran_after_no[:3]}"
    if late := found.total.started_after_deadline:
        yield f"{len(late)} started after their deadline: {late[:3]}"
    unheard = [query for query in found.failed if query.told is not None and query.told.code == NO_REPLY.code]
    if not fault.breaks_bus and unheard:
        yield f"{len(unheard)} callers on the bus heard nothing"
    if unlucky := [query for query in unheard if query.sent.at > found.over_at + found.patience]:
        yield f"{len(unlucky)} callers on the bus heard nothing although it was back"
    if fault.is_steady and found.recovery_s > fault.back_within_s * found.patience:
        yield f"a query failed {found.recovery_s:.1f} s after the end of the fault"
    if fault.is_steady and any(query.sent.at < found.began_at - 1 for query in found.failed):
        yield "queries failed before the fault"


def none_refused(found: Findings) -> Iterable[str]:
    """Yield a fault if any query failed."""
    if found.total.refused:
        yield f"refused: {dict(found.total.refused)}"
