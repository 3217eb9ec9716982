"""One row: the load, the fault under it, the account, the judgement."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import anyio

from tests.chaos.fault import SHORT_RATE, Fault, Scene, promises
from tests.chaos.findings import Findings, read_findings
from tests.chaos.ground import Ground, Plan, open_ground
from tests.chaos.load_process import load_process
from tests.support.pauses import pauses

PATIENCE_SHORT = 5.0
"""By how much a short run may miss the goals of speed: it may share its machine."""

_CALM_AGAIN_S = 60.0
_FAULT_S = 240.0


@dataclass(frozen=True, slots=True)
class Report:
    """What came out of a row."""

    fault: Fault
    found: Findings
    figures: Mapping[str, float]
    """What this fault alone is measured by."""
    wrong: tuple[str, ...]
    """What did not hold; empty where all did."""


class Runner:
    """Runs rows on grounds; rows that need the same ground share it, so that each row meets what the last one left."""

    def __init__(self, folder: Path, *, is_short: bool, patience: float) -> None:
        """Take an empty folder.

        Args:
            folder: for ledgers and records.
            is_short: a second or two of load around each fault instead of five.
            patience: by how much speeds may miss their goals.
        """
        self._folder = folder
        self._is_short = is_short
        self._patience = patience
        self._names = count()
        self._grounds: dict[Plan, Ground] = {}
        self._stack = AsyncExitStack()

    async def ground(self, plan: Plan) -> Ground:
        """Return the ground of this plan; it is started at the first call."""
        if plan not in self._grounds:
            place = self._new_folder("ground")
            self._grounds[plan] = await self._stack.enter_async_context(open_ground(place, plan))
        return self._grounds[plan]

    async def close(self) -> None:
        """End what runs."""
        await self._stack.aclose()

    def _new_folder(self, name: str) -> Path:
        folder = self._folder / f"{next(self._names)}-{name}"
        folder.mkdir()
        return folder

    async def run(self, fault: Fault) -> Report:
        """Run one row.

        Raises:
            TimeoutError: the fault did not come to its end, or the load did not.
            ProcessDiedError: something ended that should not have.
        """
        ground = await self.ground(fault.plan)
        records = self._new_folder(fault.name)
        calm_s = 1.0 if self._is_short else fault.calm_s
        facts = {} if fault.prepare is None else dict(await fault.prepare(ground))
        try:
            async with (
                pauses() as paused,
                load_process(
                    records,
                    urls=[one.url for one in ground.orchestrators],
                    nats_url=ground.bus.url,
                    servers=fault.servers,
                    rate=SHORT_RATE if self._is_short else fault.rate,
                    ms=fault.ms,
                    timeout_ms=fault.timeout_ms,
                ) as load,
            ):
                await load.answered(1)
                scene = Scene(ground, load, self._is_short, facts=facts)
                if fault.is_steady:
                    await load.calm(calm_s, timeout_s=_CALM_AGAIN_S)
                with anyio.fail_after(_FAULT_S):
                    await fault.do(scene)
                if fault.is_steady:
                    await load.calm(calm_s, timeout_s=_CALM_AGAIN_S)
                await load.stopped()
                since_1970 = time.time() - time.monotonic()
                stood_still = [(begins + since_1970, ends + since_1970) for begins, ends in paused()]
        finally:
            with anyio.CancelScope(shield=True), anyio.fail_after(_CALM_AGAIN_S):
                await (ground.renew_orchestrators() if fault.forgets and self._is_short else ground.mend())
        found = read_findings(
            records,
            load.streams,
            ground.ledger,
            deadline_s=fault.timeout_ms / 1000,
            began_at=scene.began_at,
            over_at=scene.over_at,
            patience=self._patience,
            facts=scene.facts,
            pauses=stood_still,
        )
        figures = {**facts, **fault.figures(found)}
        return Report(fault, found, figures, (*promises(fault, found), *fault.judge(found)))


@asynccontextmanager
async def runner(folder: Path, *, is_short: bool, patience: float) -> AsyncIterator[Runner]:
    """Yield a runner; what it started ends with it."""
    one = Runner(folder, is_short=is_short, patience=patience)
    try:
        yield one
    finally:
        await one.close()
