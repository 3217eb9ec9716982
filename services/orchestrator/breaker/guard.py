"""The breaker of one version of one server: which calls it lets through, and what their outcomes do to it.

The package `circuitbreaker` keeps the count, the threshold and the clock of this process. What is between the
orchestrators, and between calls in flight, is kept here: who probes, for how long, and which outcomes are too old.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from circuitbreaker import CircuitBreaker

from bus_schemas.breakers import BreakerChanged, BreakerState
from services.orchestrator.breaker.outcomes import Verdict
from services.runtime.breakers import BreakerWords, Standing
from services.runtime.errors import CircuitOpenError

FAILURES: Final = 5
"""As many in a row open it."""
TAKE_OVER_AFTER_S: Final = 10.0
"""How much longer than the orchestrator that opened it the others wait with a probe: by then it has died, or has had
no query to probe with."""
_SOON_S: Final = 1.0
"""When it is worth asking again while somebody probes."""


class _FailedCallError(Exception):
    """What the package is fed."""


class Permit(NamedTuple):
    """A call that was let through."""

    generation: int
    is_probe: bool


class Guard:
    """Admits calls one by one, and takes their outcomes."""

    def __init__(
        self,
        server: str,
        version: str,
        words: BreakerWords,
        *,
        instance: str,
        open_s: float,
        probe_s: Callable[[], float],
        tell: Callable[[BreakerChanged], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin closed, unless `words` says otherwise.

        Args:
            server: whose.
            version: of it.
            words: the newest word on each breaker, ours among them.
            instance: who we are.
            open_s: how long it stays open, in seconds.
            probe_s: how long a probe that begins now may take before it counts as lost, in seconds.
            tell: is given each word that others must hear; must neither wait nor raise.
            clock: the moment now, in seconds; the one that `words` has.
        """
        self.server = server
        self.version = version
        self._words = words
        self._instance = instance
        self._open_s = open_s
        self._probe_s = probe_s
        self._tell = tell
        self._clock = clock
        self._breaker = CircuitBreaker(FAILURES, open_s, expected_exception=_FailedCallError)
        self._generation = 0

    @property
    def state(self) -> BreakerState:
        """As it is now; open and due for a probe is half-open."""
        standing = self._words.of(self.server, self.version)
        if standing is None:
            return BreakerState.CLOSED
        if standing.word.state is BreakerState.OPEN and self._is_over(standing):
            return BreakerState.HALF_OPEN
        return standing.word.state

    @property
    def lets_through(self) -> bool:
        """Whether `admit` would let a call through now."""
        standing = self._words.of(self.server, self.version)
        return standing is None or self._is_probe_ours(standing)

    def check(self) -> None:
        """Change nothing.

        Raises:
            CircuitOpenError: the breaker is open, or somebody probes; `retry_after_s` says what is left.
        """
        standing = self._words.of(self.server, self.version)
        if standing is not None and not self._is_probe_ours(standing):
            left_s = standing.until - self._clock()
            is_probing = standing.word.state is BreakerState.HALF_OPEN or left_s <= 0
            raise CircuitOpenError(retry_after_s=_SOON_S if is_probing else left_s)

    def admit(self) -> Permit:
        """Let a call through; `settle` takes its outcome. Raises as `check` does."""
        if self._words.of(self.server, self.version) is None:
            return Permit(self._generation, is_probe=False)
        self.check()
        self._change(BreakerState.HALF_OPEN, self._probe_s(), "a probe is on its way")
        return Permit(self._generation, is_probe=True)

    def settle(self, permit: Permit, verdict: Verdict) -> None:
        """Take the outcome of a call that was let through; one from before the last change is dropped."""
        if permit.generation != self._generation:
            return
        if verdict is Verdict.IGNORED:
            if permit.is_probe:
                self._words.end_wait(self.server, self.version)
            return
        if verdict is Verdict.SUCCESS and not permit.is_probe and self._breaker.failure_count == 0:
            return  # it has nothing to forget
        self._feed(verdict)
        if verdict is Verdict.FAILURE and permit.is_probe:
            while not self._breaker.opened:  # it may not be us who counted, and the package has no other way to open
                self._feed(verdict)
        if self._breaker.opened:
            reason = "the probe failed" if permit.is_probe else f"{FAILURES} calls in a row failed"
            self._change(BreakerState.OPEN, self._open_s, reason)
        elif permit.is_probe:
            self._change(BreakerState.CLOSED, 0.0, "the probe succeeded")

    def obey(self) -> None:
        """Another one has changed this breaker: what is in flight here counts no more."""
        self._generation += 1
        standing = self._words.of(self.server, self.version)
        if standing is None or standing.word.state is BreakerState.ISOLATED:
            self._breaker.reset()

    def _is_probe_ours(self, standing: Standing) -> bool:
        """Whether the next call is the probe. An isolation is nobody's, and over before that."""
        if standing.word.by != self._instance:
            return self._clock() >= standing.until + TAKE_OVER_AFTER_S
        return self._is_over(standing)

    def _is_over(self, standing: Standing) -> bool:
        """Whether the time of a word is over: by the package's clock, unless it was cut short, or is not ours."""
        is_ours = standing.word.by == self._instance and standing.word.state is BreakerState.OPEN
        return self._clock() >= standing.until or (is_ours and not self._breaker.opened)

    def _feed(self, verdict: Verdict) -> None:
        try:
            with self._breaker:
                if verdict is Verdict.FAILURE:
                    raise _FailedCallError
        except _FailedCallError as fed:
            # The package keeps the last one, and it the call's own error and frames.
            fed.__context__ = fed.__traceback__ = None

    def _change(self, state: BreakerState, for_s: float, reason: str) -> None:
        self._generation += 1
        word = self._words.next(self.server, self.version, state, for_s=for_s, by=self._instance, reason=reason)
        self._words.take(word)
        self._tell(word)
