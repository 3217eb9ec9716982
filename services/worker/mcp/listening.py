"""Keeping an ear on what a server says unasked, however often the stream of that ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Never

from services.runtime.errors import QueryError
from services.runtime.racing import first_result
from services.worker.mcp.keeping import KeepingPolicy, backoff_s, failures_after
from services.worker.mcp.session import Session


async def keep_listening(
    session: Session,
    *,
    anew: asyncio.Event,
    policy: KeepingPolicy,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Never:
    """Listen to the server until cancelled; what is heard comes to `session.lists_changed`.

    A stream that ends is opened again, ever more slowly where it keeps ending. That it ends says nothing about the
    session: the probe decides that.

    Args:
        session: what is listened to.
        anew: set when the server was away and is back: the stream of before may be dead without a sign of it.
        policy: the numbers.
        clock: the moment now, in seconds.
        sleep: waits so many seconds.
    """
    failures = 0
    while True:
        began_at = clock()
        anew.clear()
        with contextlib.suppress(QueryError):
            await first_result(session.listen(), anew.wait())
        failures = failures_after(failures, up_s=clock() - began_at, policy=policy)
        await sleep(backoff_s(failures, policy))
