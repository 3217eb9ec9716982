"""How much is worked on at once: queries in all and for one server, and bytes. What is beyond it is refused at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.orchestrator.flow_metrics import FlowMetrics
from services.runtime.errors import OverloadedError


class Hold:
    """Bytes that are in memory for one query; given back by whoever opened it."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes."""
        self._bytes += size
        self._admission.held_bytes += size

    def release(self) -> None:
        """Give all of them back."""
        self._admission.held_bytes -= self._bytes
        self._bytes = 0


class Admission:
    """Counts what this process works on.

    A server may have half of the queries: one that is slow, asked by many, never keeps the callers of others out.
    """

    def __init__(self, *, most_in_flight: int, most_held_bytes: int, metrics: FlowMetrics) -> None:
        """Set the bounds.

        Args:
            most_in_flight: queries at once; of one server half as many, and at least one.
            most_held_bytes: of queries' bodies, of large results that are being put together, and of answers that
                are not written yet. While there are more, no query is let in; those that are in go on.
            metrics: are told how many queries each server has.
        """
        self._most_in_flight = most_in_flight
        self._most_of_server = max(1, most_in_flight // 2)
        self._most_held_bytes = most_held_bytes
        self._metrics = metrics
        self._of_server: Counter[str] = Counter()
        self.in_flight = 0
        self.held_bytes = 0
        metrics.watch(in_flight=lambda: self.in_flight, held_bytes=lambda: self.held_bytes)

    def check(self) -> None:
        """Raises OverloadedError: there are too many queries, or they and their answers take too much memory."""
        if self.in_flight >= self._most_in_flight or self.held_bytes >= self._most_held_bytes:
            raise OverloadedError

    @contextmanager
    def query(self) -> Iterator[None]:
        """Let a query in, and count it while the context lasts; raises as `check` does."""
        self.check()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @contextmanager
    def holding(self) -> Iterator[Hold]:
        """Count bytes while the context lasts; nothing is refused."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            hold.release()

    @contextmanager
    def at(self, server: str) -> Iterator[None]:
        """Let a query wait for an answer of `server`.

        Raises:
            OverloadedError: too many do.
        """
        if self._of_server[server] >= self._most_of_server:
            raise OverloadedError
        self._enter(server, 1)
        try:
            yield
        finally:
            self._enter(server, -1)

    def _enter(self, server: str, count: int) -> None:
        self._of_server[server] += count
        self._metrics.at_server(server, self._of_server[server])
