"""Those who want the same thing at once: one asks for it, the others wait for what it is told."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, Self, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
T = TypeVar("T")


class AbandonedError(Exception):
    """Who led had no time left, or went away, which says nothing about the server: somebody else has to lead."""


class Flight(Generic[T]):
    """One question on its way; a context for the one who asks. Left without an answer or an error, it was abandoned."""

    def __init__(self, take_off_the_list: Callable[[], object]) -> None:
        """Made by `SingleFlight.open`."""
        self.began_at = time.monotonic()
        self._landed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._take_off_the_list = take_off_the_list

    def land(self, answer: T) -> None:
        """Give all who wait the answer."""
        self._landed.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Let all who wait fail with `error`."""
        self._landed.set_exception(error)
        self._landed.exception()  # seen, though perhaps nobody waits

    async def answer(self) -> T:
        """Return what the one who asks was told.

        Raises:
            AbandonedError: it gave up.
            Exception: what it failed with.
        """
        return await asyncio.shield(self._landed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._take_off_the_list()
        if not self._landed.done():
            self.fail(AbandonedError())


class SingleFlight(Generic[KeyT, T]):
    """The flights of a process by what is asked."""

    def __init__(self) -> None:
        self._flights: dict[KeyT, Flight[T]] = {}

    def get(self, key: KeyT) -> Flight[T] | None:
        """Return the flight that is on its way for `key`."""
        return self._flights.get(key)

    def open(self, key: KeyT) -> Flight[T]:
        """Return a new flight for `key`; one that is on its way already is for those who have joined it."""
        flight = self._flights[key] = Flight[T](lambda: self._close(key, flight))
        return flight

    def _close(self, key: KeyT, flight: Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
