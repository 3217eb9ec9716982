"""How much is worked on at once: queries in all and for one server, and bytes. What is beyond it is refused at once."""

from collections import Counter
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from services.orchestrator.flow_metrics import FlowMetrics
from services.runtime.errors import OverloadedError


class Hold:
    """Bytes that are in memory for one query, while the context lasts."""

    __slots__ = ("_admission", "_bytes")

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes."""
        self._bytes += size
        self._admission.held_bytes += size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._admission.held_bytes -= self._bytes
        self._bytes = 0


class _Query:
    """One query more, while the context lasts."""

    __slots__ = ("_admission",)

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission

    def __enter__(self) -> None:
        self._admission.check()
        self._admission.in_flight += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._admission.in_flight -= 1


class _Waiting:
    """One query more that waits for a server's answer, while the context lasts."""

    __slots__ = ("_most", "_of_server", "_server")

    def __init__(self, of_server: Counter[str], server: str, most: int) -> None:
        self._of_server = of_server
        self._server = server
        self._most = most

    def __enter__(self) -> None:
        count = self._of_server[self._server]
        if count >= self._most:
            raise OverloadedError
        self._of_server[self._server] = count + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._of_server[self._server] -= 1


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
        metrics.watch(
            in_flight=lambda: self.in_flight, held_bytes=lambda: self.held_bytes, at_server=self._of_server.__getitem__
        )

    def check(self) -> None:
        """Raises OverloadedError: there are too many queries, or they and their answers take too much memory."""
        if self.in_flight >= self._most_in_flight or self.held_bytes >= self._most_held_bytes:
            raise OverloadedError

    def query(self) -> AbstractContextManager[None]:
        """Let a query in, and count it while the context lasts; entering it raises as `check` does."""
        return _Query(self)

    def holding(self) -> Hold:
        """Count bytes while the context lasts; nothing is refused."""
        return Hold(self)

    def at(self, server: str) -> AbstractContextManager[None]:
        """Let a query wait for an answer of `server`; entering the context raises OverloadedError if too many do."""
        if server not in self._of_server:
            self._metrics.know_all([server])
        return _Waiting(self._of_server, server, self._most_of_server)
