"""Waiting for what other processes do, where there is no event to wait on."""

from collections.abc import Callable

import anyio

_POLL_S = 0.01


async def until(condition: Callable[[], object], *, timeout_s: float = 10.0) -> None:
    """Return when `condition()` is true.

    Raises:
        TimeoutError: it is not within `timeout_s` seconds.
    """
    with anyio.fail_after(timeout_s):
        while not condition():
            await anyio.sleep(_POLL_S)
