"""The breakers of all versions of all servers, as this process and the others know them."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from bus_schemas.breakers import BreakerChanged, BreakerState
from services.orchestrator.breaker.guard import Guard, Permit
from services.orchestrator.breaker.metrics import BreakerMetrics
from services.orchestrator.breaker.outcomes import Verdict, judge
from services.runtime.breakers import BreakerWords
from services.runtime.config.policy import Policy
from services.runtime.errors import CircuitOpenError, DeadlineExceededError, QueryError
from services.runtime.fleet import Fleet, Report

log = logging.getLogger(__name__)

_JITTER: Final = 0.1
"""Breakers that opened together do not all probe together."""
_PROBE_MARGIN_S: Final = 1.0
"""A worker gives a call the server's `timeout_s` from when it has a slot, and its word has to come back."""


class Board:
    """Every call to a worker runs inside `guarding`."""

    def __init__(
        self,
        policy: Policy,
        fleet: Fleet,
        words: BreakerWords,
        metrics: BreakerMetrics,
        *,
        instance: str,
        open_s: float,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """Make the breakers of what is configured; the others follow with their first call.

        Args:
            policy: says how long each server may take.
            fleet: its workers say whether their servers answer them, and when they begin to serve.
            words: the newest word on each breaker.
            metrics: are told what changes.
            instance: who we are.
            open_s: how long a breaker stays open, in seconds; up to a tenth is added.
            clock: the moment now, in seconds; the one that `words` has.
            uniform: a random number from 0 to 1.
        """
        self._policy = policy
        self._fleet = fleet
        self._words = words
        self._metrics = metrics
        self._instance = instance
        self._open_s = open_s
        self._clock = clock
        self._uniform = uniform
        self._guards: dict[tuple[str, str], Guard] = {}
        self._seen: dict[tuple[str, str], BreakerState] = {}
        self.changes: asyncio.Queue[BreakerChanged] = asyncio.Queue()
        """What changed here and the others have not been told yet."""
        for server, served in policy.servers.items():
            self._guard(server, served.version)
        fleet.on_serving(self._permit_probe)

    def lets_through(self, server: str, version: str) -> bool:
        """Whether `guarding` would let a call through now; asking changes and counts nothing."""
        return self._guard(server, version).lets_through

    def check(self, server: str, version: str) -> None:
        """Count a call that is not to be made, and change nothing; where none is, `guarding` lets the next one through.

        Raises:
            CircuitOpenError: it is not to be made.
        """
        try:
            self._guard(server, version).check()
        except CircuitOpenError:
            self._metrics.refused(server, version)
            raise

    def guarding(self, server: str, version: str, deadline: float) -> AbstractContextManager[None]:
        """Let one call through, and take its outcome: the result, or the error that it ends with.

        `deadline` is the caller's, by the clock. Entering the context raises as `check` does.
        """
        return _Guarded(self, self._guard(server, version), deadline)

    def admit(self, guard: Guard) -> Permit:
        """Let a call through this breaker; counts and raises as `check` does."""
        try:
            return guard.admit()
        except CircuitOpenError:
            self._metrics.refused(guard.server, guard.version)
            raise

    def judge(self, guard: Guard, error: BaseException | None, left_s: float) -> Verdict:
        """Return what a call that ended so says; `left_s` is what it had until its deadline."""
        if error is None:
            return Verdict.SUCCESS
        if not isinstance(error, QueryError):
            return Verdict.IGNORED
        return judge(
            error,
            left_s=left_s,
            timeout_s=self._policy.of(guard.server).timeout_s,
            is_probe_failing=self._is_probe_failing(guard.server, guard.version, error),
        )

    def left_s(self, deadline: float) -> float:
        """Return how long it is until then, by the clock."""
        return deadline - self._clock()

    def heard(self, word: BreakerChanged) -> None:
        """Obey a word of another that `words` holds already."""
        for guard in list(self._guards.values()):
            if guard.server == word.server and word.version in (None, guard.version):
                guard.obey()
                self._note(guard, word)

    def told(self) -> list[BreakerChanged]:
        """Return what this process knows of every breaker; those that never changed are closed since ever."""
        told = self._words.told()
        known = {(word.server, word.version) for word in told}
        never = [guard for key, guard in self._guards.items() if key not in known]
        return told + [
            BreakerChanged(
                server=guard.server, version=guard.version, state=BreakerState.CLOSED, epoch=0, by=self._instance
            )
            for guard in never
        ]

    def own_words(self) -> list[BreakerChanged]:
        """Return what this process has said last of those breakers on which its word counts."""
        return [word for word in self._words.told() if word.by == self._instance]

    def _guard(self, server: str, version: str) -> Guard:
        guard = self._guards.get((server, version))
        if guard is None:
            guard = self._guards[server, version] = Guard(
                server,
                version,
                self._words,
                instance=self._instance,
                open_s=self._open_s * (1 + _JITTER * self._uniform()),
                probe_s=lambda: self._policy.of(server).timeout_s + _PROBE_MARGIN_S,
                tell=self._tell,
                clock=self._clock,
            )
            self._metrics.know(server, version, lambda: guard.state)
        return guard

    def _tell(self, word: BreakerChanged) -> None:
        self.changes.put_nowait(word)
        if word.version is not None:
            self._note(self._guards[word.server, word.version], word)

    def _note(self, guard: Guard, word: BreakerChanged) -> None:
        key = guard.server, guard.version
        if self._seen.get(key, BreakerState.CLOSED) is word.state and word.state is not BreakerState.ISOLATED:
            return  # one probe after another; of an isolation nobody says that it is over
        self._seen[key] = word.state
        self._metrics.changed(*key, word.state)
        log.warning(
            "breaker changed",
            extra={
                "server": guard.server,
                "version": guard.version,
                "state": word.state.value,
                "by": word.by,
                "reason": word.reason,
            },
        )

    def _permit_probe(self, report: Report) -> None:
        self._words.permit_probe(report.server, report.version)

    def _is_probe_failing(self, server: str, version: str, error: QueryError) -> bool:
        """Whether the worker that had the call has no session; where it is not known who had it, whether none has."""
        if not isinstance(error, DeadlineExceededError):
            return False
        reports = [
            worker.report
            for worker in self._fleet.workers()
            if (worker.report.server, worker.report.version) == (server, version)
            and error.holder in (None, worker.report.instance)
        ]
        return bool(reports) and all(report.fault is not None for report in reports)


class _Guarded:
    """One call; see `Board.guarding`."""

    __slots__ = ("_board", "_deadline", "_guard", "_left_s", "_permit")

    def __init__(self, board: Board, guard: Guard, deadline: float) -> None:
        self._board = board
        self._guard = guard
        self._deadline = deadline

    def __enter__(self) -> None:
        self._permit = self._board.admit(self._guard)
        self._left_s = self._board.left_s(self._deadline)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._guard.settle(self._permit, self._board.judge(self._guard, error, self._left_s))
