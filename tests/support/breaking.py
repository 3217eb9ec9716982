"""Breakers of several orchestrators under one clock that a test moves, without a bus: what one says, others hear."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import circuitbreaker
import pytest

from bus_schemas.breakers import BreakerChanged
from services.orchestrator.breaker.board import Board
from services.orchestrator.breaker.metrics import BreakerMetrics
from services.runtime.breakers import BreakerWords
from services.runtime.config.policy import Policy
from services.runtime.errors import CircuitOpenError, QueryError, UpstreamError
from services.runtime.metrics import new_registry
from tests.support.announced import AnnouncedFleet

OPEN_S = 30.0


@dataclass
class Clock:
    """A clock that a test moves; the package's is the same."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    @classmethod
    def ruling(cls, monkeypatch: pytest.MonkeyPatch) -> "Clock":
        """Return a clock that the package goes by, too."""
        clock = cls()
        monkeypatch.setattr(circuitbreaker, "monotonic", clock)
        return clock


class Replica:
    """The breakers of one orchestrator."""

    def __init__(
        self, instance: str, clock: Clock, announced: AnnouncedFleet, policy: Policy, *, jitter: float = 0.0
    ) -> None:
        self.instance = instance
        self.clock = clock
        self.registry = new_registry()
        self.words = BreakerWords(clock, wall_clock=clock)
        self.board = Board(
            policy,
            announced.fleet,
            self.words,
            BreakerMetrics(self.registry),
            instance=instance,
            open_s=OPEN_S,
            clock=clock,
            uniform=lambda: jitter,
        )

    def call(
        self, error: BaseException | None = None, *, server: str = "a", version: str = "1.0.0", left_s: float = 30.0
    ) -> None:
        """Make a call that ends with `error`, or with a result; raise CircuitOpenError if it is not let through."""
        try:
            with self.board.guarding(server, version, self.clock.now + left_s):
                if error is not None:
                    raise error
        except CircuitOpenError:
            raise
        except QueryError:
            return

    def refusal(self, *, server: str = "a", version: str = "1.0.0") -> CircuitOpenError | None:
        """The error with which a call is refused; None: it is let through, and succeeds."""
        try:
            self.call(server=server, version=version)
        except CircuitOpenError as error:
            return error
        return None

    @contextmanager
    def slow_call(self, *, fails: bool, left_s: float = 300.0) -> Iterator[None]:
        """Make a call that is in flight while the context lasts, and has a result or fails then."""
        with suppress(UpstreamError), self.board.guarding("a", "1.0.0", self.clock.now + left_s):
            yield
            if fails:
                raise UpstreamError

    def state(self, *, server: str = "a", version: str = "1.0.0") -> float | None:
        """As it is on /metrics."""
        return self.registry.get_sample_value("mcp_circuit_breaker_state", {"server": server, "version": version})

    def said(self) -> list[BreakerChanged]:
        """What it has said since it was last looked."""
        words = []
        while not self.board.changes.empty():
            words.append(self.board.changes.get_nowait())
        return words

    def hear(self, *words: BreakerChanged) -> None:
        for word in words:
            if self.words.take(word):
                self.board.heard(word)


@dataclass
class Replicas:
    """Some orchestrators that hear each other when the test says so."""

    clock: Clock
    policy: Policy
    announced: AnnouncedFleet = field(default_factory=AnnouncedFleet)
    all: list[Replica] = field(default_factory=list)

    def add(self, instance: str, *, jitter: float = 0.0) -> Replica:
        replica = Replica(instance, self.clock, self.announced, self.policy, jitter=jitter)
        self.all.append(replica)
        return replica

    def share(self) -> None:
        """Let each hear what was said, its own words too, as on the bus."""
        said = [word for replica in self.all for word in replica.said()]
        for replica in self.all:
            replica.hear(*said)
