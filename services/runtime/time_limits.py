"""A limit of time for what every query does: `asyncio.timeout` without its two coroutines and seven calls."""

import asyncio
from types import TracebackType


class TimeLimit:
    """Raises TimeoutError out of its block if that takes longer than so many seconds; for one task, once."""

    __slots__ = ("_cancels_before", "_is_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._task = task
        self._cancels_before = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # Somebody else may want the task to end, too: that goes before.
        if self._is_over and self._task.uncancel() <= self._cancels_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()
